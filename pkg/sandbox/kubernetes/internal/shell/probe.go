package shell

import (
	"context"
	"strconv"
	"strings"
)

// Facts are what there is in a sandbox.
type Facts struct {
	User  int    // the id that commands run as
	Shell string // what sh is: dash, busybox, bash and its version
	// Missing are programs that the protocol, or a part of it, needs: tar for files, setsid for a session of its own.
	Missing []string
	// Marks says whether processes can be marked, so that everything that a command started is found, whatever became of
	// its parents.
	Marks     bool
	State     string // the folder that the protocol keeps its files in
	Workspace string // empty until the first command
	Memory    int64  // bytes that the container may use, zero: no limit, or not known
	PIDs      int64  // processes that it may have, likewise
}

// Probe looks at the sandbox, with one request.
func (s *Shell) Probe(ctx context.Context) (Facts, error) {
	if err := s.check(ctx, "probe"); err != nil {
		return Facts{}, err
	}
	a, err := s.call(ctx, "probe")
	if err != nil {
		return Facts{}, s.wrap(ctx, "probe", err)
	}
	f := Facts{Marks: true}
	for _, line := range a.lines {
		key, value, _ := strings.Cut(line, " ")
		n, _ := strconv.ParseInt(value, 10, 64) // "max" is no limit
		switch key {
		case "user":
			f.User = int(n)
		case "sh":
			f.Shell = value
		case "lacks":
			if value == "marks" {
				f.Marks = false
			} else {
				f.Missing = append(f.Missing, value)
			}
		case "state":
			f.State = value
		case "workspace":
			f.Workspace = value
		case "memory":
			if n < 1<<60 { // more is how the first version of control groups says that there is no limit
				f.Memory = n
			}
		case "pids":
			f.PIDs = n
		}
	}
	return f, nil
}
