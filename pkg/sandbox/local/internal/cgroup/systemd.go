package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"
)

// systemdTimeout bounds the talk with the user's systemd, which takes some ten milliseconds.
const systemdTimeout = 5 * time.Second

// useSystemd asks the user's systemd for a scope that it delegates, with the process in it, and divides that. The scope
// ends with its last process. See org.freedesktop.systemd1(5) and systemd's "Control Group APIs and Delegation".
func (m *Manager) useSystemd(ctx context.Context, v2 *hierarchy, o Options) error {
	if v2 == nil {
		return errors.New("needs the v2 hierarchy")
	}
	bus := userBus()
	if bus == "" {
		return errors.New("no user bus (XDG_RUNTIME_DIR is not set, or nobody listens there)")
	}
	ctx, cancel := context.WithTimeout(ctx, systemdTimeout)
	defer cancel()
	if err := startScope(ctx, "unix:path="+dbus.EscapeBusAddressValue(bus), prefix+o.RunID+".scope", o.PID); err != nil {
		return err
	}
	h, _, err := hierarchies(o.PID)
	if err != nil || h == nil {
		return errors.Join(errors.New("the scope's group cannot be seen"), err)
	}
	return m.tryV2(*h, h.own, true) // not every version of systemd marks what it delegates
}

// userBus returns the path of the socket of the user's bus, empty where there is none.
func userBus() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = "/run/user/" + strconv.Itoa(os.Getuid())
	}
	path := filepath.Join(dir, "bus")
	if info, err := os.Stat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return ""
	}
	return path
}

type property struct {
	Name  string
	Value dbus.Variant
}

type auxUnit struct {
	Name       string
	Properties []property
}

// startScope starts a transient scope around a process and waits until systemd has moved the process.
func startScope(ctx context.Context, address, name string, pid int) error {
	conn, err := dbus.Connect(address, dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	defer conn.Close()
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface("org.freedesktop.systemd1.Manager"),
		dbus.WithMatchMember("JobRemoved")); err != nil {
		return err
	}
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	manager := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	// systemd sends JobRemoved only to those who subscribed.
	if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.Subscribe", 0).Err; err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	properties := []property{
		{"Description", dbus.MakeVariant("sandboxes of sbxrun")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"Delegate", dbus.MakeVariant(true)},
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	var job dbus.ObjectPath
	err = manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.StartTransientUnit", 0,
		name, "fail", properties, []auxUnit{}).Store(&job)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w", name, ctx.Err())
		case s, ok := <-signals:
			if !ok {
				return fmt.Errorf("start %s: the bus closed the connection", name)
			}
			// id u, job o, unit s, result s
			if len(s.Body) < 4 || s.Body[1] != job {
				continue
			}
			if s.Body[3] != "done" {
				return fmt.Errorf("start %s: %v", name, s.Body[3])
			}
			return nil
		}
	}
}
