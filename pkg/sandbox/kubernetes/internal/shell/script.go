package shell

import (
	"embed"
	"strings"
	"sync"
)

//go:embed scripts/*.sh
var sources embed.FS

// script returns the text of a request: what all requests read, and its own; or that of a command's supervisor or keeper.
// Comments and indentation, which would be most of a short request, are left out.
var script = scripts()

func scripts() func(name string) string {
	var mu sync.Mutex
	texts := map[string]string{}
	return func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		if _, there := texts[name]; !there {
			parts := []string{"common", "request", name}
			switch name {
			case "supervise": // in a shell that has read common
				parts = []string{"command", name}
			case "keep":
				parts = []string{"common", "command", name}
			}
			for _, part := range parts {
				texts[name] += compact(part)
			}
		}
		return texts[name]
	}
}

func compact(name string) string {
	source, err := sources.ReadFile("scripts/" + name + ".sh")
	if err != nil {
		panic(err) // a name that this package misspelt
	}
	var b strings.Builder
	for line := range strings.Lines(string(source)) {
		if line = strings.TrimLeft(line, "\t"); line != "\n" && line[0] != '#' {
			b.WriteString(line)
		}
	}
	return b.String()
}
