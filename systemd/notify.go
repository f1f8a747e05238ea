// Package systemd tells the service manager how a program of ours is doing:
// that it is up, that it stops, and that it still makes progress. Where no
// service manager asks, every call does nothing. Beside it lie the units.
package systemd

import (
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready tells that the service is up (READY=1): units that are ordered behind
// it start now.
func Ready() error { return Notify(daemon.SdNotifyReady) }

// Stopping tells that the service is on its way out (STOPPING=1).
func Stopping() error { return Notify(daemon.SdNotifyStopping) }

// Status is one line for people in systemctl status (STATUS=).
func Status(text string) error {
	return Notify("STATUS=" + strings.Join(strings.Fields(text), " "))
}

// Notify sends one assignment of sd_notify(3) to the service manager. Without
// one (no NOTIFY_SOCKET) it returns nil. An error means that the manager was
// not told; the service itself goes on.
func Notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		name, _, _ := strings.Cut(state, "=")
		return fmt.Errorf("tell the service manager %s: %w", name, err)
	}
	return nil
}
