package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a component that runs, as noted in state/run. A process id is used again some day, so that its start time
// goes with it: without that, an old note could end a process of somebody else.
type process struct {
	PID     int
	Started string // in clock ticks since boot, as /proc/PID/stat has it
	Argv    []string
}

// start runs a component in the cluster's network namespace, in a session of its own, so that it outlives this program.
func (c *cluster) start(name string, argv ...string) error {
	log, err := os.OpenFile(filepath.Join(c.logs(), name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	inside := c.inside(argv...)
	cmd := exec.Command(inside[0], inside[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // or a death would go unseen: a zombie still has a process id
	p := process{PID: cmd.Process.Pid, Argv: argv}
	if p.Started, err = startTime(p.PID); err != nil {
		return fmt.Errorf("%s ended at once: %w", name, err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(c.note(name), data, 0o644)
}

func (c *cluster) note(name string) string { return c.path("state", "run", name+".json") }

func (c *cluster) noted(name string) (process, error) {
	var p process
	data, err := os.ReadFile(c.note(name))
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

// components are the names of all that were started.
func (c *cluster) components() []string {
	notes, _ := filepath.Glob(c.note("*")) // the pattern is well-formed
	for i := range notes {
		notes[i] = strings.TrimSuffix(filepath.Base(notes[i]), ".json")
	}
	return notes
}

func (p process) alive() bool {
	started, err := startTime(p.PID)
	return err == nil && started == p.Started
}

// stop ends a component: TERM, ten seconds, KILL. Its note stays, for start.
func (c *cluster) stop(name string) error {
	p, err := c.noted(name)
	if err != nil {
		return fmt.Errorf("no component %s was started; there are %s", name, strings.Join(c.components(), ", "))
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !p.alive() {
			return nil
		}
		if err := syscall.Kill(p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending %s, process %d: %w", name, p.PID, err)
		}
		for range 200 {
			if !p.alive() {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return fmt.Errorf("%s, process %d, does not end", name, p.PID)
}

// restart starts a component as it was started before.
func (c *cluster) restart(name string) error {
	p, err := c.noted(name)
	if err != nil {
		return fmt.Errorf("no component %s was started; there are %s", name, strings.Join(c.components(), ", "))
	}
	if p.alive() {
		return nil
	}
	return c.start(name, p.Argv...)
}

// startTime is the 22nd field of /proc/PID/stat; the second is a name in parentheses that may hold anything.
func startTime(pid int) (string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

// await calls done until it is nil. The components that it depends on are watched meanwhile.
func (c *cluster) await(ctx context.Context, limit time.Duration, what string, done func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := done()
		if err == nil {
			return nil
		}
		for _, name := range c.components() {
			if p, noteErr := c.noted(name); noteErr == nil && !p.alive() {
				log, _ := os.ReadFile(filepath.Join(c.logs(), name+".log")) // the death is reported all the same
				return fmt.Errorf("%s ended while %s was awaited:\n%s", name, what, tail(log))
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come within %v: %w", what, limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
