package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a terminal, and the side of it at which the person sits.
func terminal(t *testing.T) (theirs, ours *os.File) {
	t.Helper()
	theirs, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("left out: no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = theirs.Close() }) // only read
	if err := unix.IoctlSetPointerInt(int(theirs.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(theirs.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	ours, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	return theirs, ours
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// A question ends with the context, as Ctrl-C ends it, and what is typed after
// shows again.
func TestInterruptedQuestion(t *testing.T) {
	_, tty := terminal(t)
	p := &prompt{in: bufio.NewReader(tty), fd: int(tty.Fd()), terminal: true, out: io.Discard, err: io.Discard}
	ask := map[string]func(context.Context) error{
		"password": func(ctx context.Context) error { _, err := p.password(ctx); return err },
		"name":     func(ctx context.Context) error { _, err := p.line(ctx); return err },
	}
	for _, name := range []string{"password", "name"} { // one reader stays behind, so the name comes last
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- ask[name](ctx) }()
		limit := time.After(10 * time.Second)
		tick := time.NewTicker(time.Millisecond)
		for name == "password" && echoes(t, tty) {
			select {
			case <-limit:
				t.Fatal("the password shows while it is typed")
			case <-tick.C:
			}
		}
		tick.Stop()
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, errInterrupted) {
				t.Errorf("%s: %v", name, err)
			}
		case <-limit:
			t.Fatalf("the %s is still asked for", name)
		}
		if !echoes(t, tty) {
			t.Errorf("after the %s the terminal shows nothing", name)
		}
	}
}
