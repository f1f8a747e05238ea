package cable

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// lay gives a cable to a server that echoes.
func lay(t *testing.T) *Cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return nil
			}
			g.Go(func() error {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
				return nil
			})
		}
	})
	c, err := New(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	g.Go(func() error { return c.Run(ctx) })
	t.Cleanup(func() {
		stop()
		if err := errors.Join(l.Close(), g.Wait()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func dial(t *testing.T, c *Cable) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// echo says a text and hears it again within d.
func echo(conn net.Conn, text string, d time.Duration) error {
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	return hear(conn, text, d)
}

func hear(conn net.Conn, text string, d time.Duration) error {
	_ = conn.SetReadDeadline(time.Now().Add(d))
	b := make([]byte, len(text))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != text {
		return errors.New("heard " + string(b))
	}
	return nil
}

func TestPulledAndBack(t *testing.T) {
	c := lay(t)
	conn := dial(t, c)
	if err := echo(conn, "one", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	c.Set(Pulled)
	if err := echo(conn, "two", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("over a pulled cable came %v", err)
	}
	late := dial(t, c) // is taken, and hears nothing
	if err := echo(late, "three", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("over a pulled cable came %v", err)
	}
	c.Set(Whole)
	if err := hear(conn, "two", 5*time.Second); err != nil {
		t.Errorf("what was under way when the cable came back: %v", err)
	}
	if err := hear(late, "three", 5*time.Second); err != nil {
		t.Errorf("the connection made meanwhile: %v", err)
	}
	if c.Passed() != 2*uint64(len("onetwothree")) {
		t.Errorf("%d bytes passed", c.Passed())
	}
}

func TestRefusedAndReset(t *testing.T) {
	c := lay(t)
	conn := dial(t, c)
	if err := echo(conn, "one", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	c.Set(Refused)
	if err := hear(conn, "x", 5*time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection ended with %v", err)
	}
	late, err := net.Dial("tcp", c.Addr())
	if err == nil { // else the reset was quicker
		err = hear(late, "x", 5*time.Second)
		_ = late.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection ended with %v", err)
	}
	c.Set(Whole)
	again := dial(t, c)
	if err := echo(again, "two", 5*time.Second); err != nil {
		t.Error(err)
	}
	c.Reset()
	if err := hear(again, "x", 5*time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset connection ended with %v", err)
	}
}

func TestTrickle(t *testing.T) {
	c := lay(t)
	conn := dial(t, c)
	c.Set(Trickle)
	if err := echo(conn, "abc", 300*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("three bytes at one a second: %v", err)
	}
	c.Set(Whole)
	if err := hear(conn, "abc", 5*time.Second); err != nil {
		t.Error(err)
	}
}
