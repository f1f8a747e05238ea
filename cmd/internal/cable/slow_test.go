package cable

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// TestSlow: both ways take their time, what is sent arrives whole, and the end
// is heard.
func TestSlow(t *testing.T) {
	c := lay(t)
	c.Shape(1_000_000, 30*time.Millisecond)
	conn := dial(t, c)
	began := time.Now()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 60*time.Millisecond || took > time.Second {
		t.Errorf("there and back took %s", took)
	}
	want := bytes.Repeat([]byte("0123456789"), 30_000)
	began = time.Now()
	go func() {
		_, _ = conn.Write(want)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if took := time.Since(began); err != nil || !bytes.Equal(got, want) || took < 340*time.Millisecond || took > 5*time.Second {
		t.Errorf("%d of %d bytes after %s, %v", len(got), len(want), took, err)
	}
}

// TestSlowIsCut: a reset ends it at once.
func TestSlowIsCut(t *testing.T) {
	c := lay(t)
	c.Shape(10_000, 30*time.Millisecond)
	conn := dial(t, c)
	if _, err := conn.Write(make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c.Set(Refused)
	if _, err := io.Copy(io.Discard, conn); err == nil || time.Since(began) > time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
