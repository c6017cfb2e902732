// Package scope asks the systemd of a user for a control group. It is apart from package cgroup since D-Bus is much to
// initialise: the spawner uses that one, and is started for each run.
package scope

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

// timeout bounds the talk with the user's systemd, which takes some ten milliseconds.
const timeout = 5 * time.Second

// Start has the user's systemd start the transient scope name, such as "x.scope", with a process in it, and delegate its
// control group to the user. The scope ends with its last process. It must be called as the real user, outside of user
// namespaces, for systemd to know the caller. See org.freedesktop.systemd1(5) and systemd's "Control Group APIs and
// Delegation".
func Start(ctx context.Context, name string, pid int) error {
	bus := userBus()
	if bus == "" {
		return errors.New("no user bus (XDG_RUNTIME_DIR is not set, or nobody listens there)")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return start(ctx, "unix:path="+dbus.EscapeBusAddressValue(bus), name, pid)
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

// start starts a transient scope around a process and waits until systemd has moved the process.
func start(ctx context.Context, address, name string, pid int) error {
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
