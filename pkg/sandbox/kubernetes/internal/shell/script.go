package shell

import (
	"embed"
	"strings"
	"sync"
)

//go:embed scripts/*.sh
var sources embed.FS

// script returns the text of a request: what all requests read, and its own. Comments and indentation, which would be
// most of a short request, are left out.
var script = scripts()

func scripts() func(name string) string {
	var mu sync.Mutex
	texts := map[string]string{}
	return func(name string) string {
		mu.Lock()
		defer mu.Unlock()
		if _, there := texts[name]; !there {
			text := compact("common")
			if name == "supervise" || name == "keep" {
				text += compact("command")
			} else {
				text += compact("request")
			}
			texts[name] = text + compact(name)
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
