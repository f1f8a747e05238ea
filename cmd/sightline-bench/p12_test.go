package main

import (
	"bytes"
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/agent/config"
)

// TestRunnerConfiguration: what the figures run an agent with is one that it takes.
func TestRunnerConfiguration(t *testing.T) {
	r, err := newRunner(&Env{}, t.TempDir(), []string{"http://127.0.0.1:1/a", "http://127.0.0.1:1/b"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(r.config)
	if err != nil || len(c.Stations) != 2 || len(c.Warnings) != 0 || c.Listen != r.addr {
		t.Errorf("%v, %+v", err, c)
	}
	if err := r.kill(); err != nil {
		t.Errorf("kill what doesn't run: %v", err)
	}
	if n := r.inspected(t.Context()); n != nil {
		t.Errorf("an agent that doesn't run has inspected %v", n)
	}
}

// TestProcessorTime: what a thread has used is seen to better than the kernel's ticks.
func TestProcessorTime(t *testing.T) {
	before, began := processorTime(os.Getpid()), selfCPU()
	for selfCPU()-began < 50*time.Millisecond {
	}
	used, by := processorTime(os.Getpid())-before, selfCPU()-began
	if used < 40*time.Millisecond || used > by+10*time.Millisecond {
		t.Errorf("%v of %v", used, by)
	}
}

func TestDecodeAtPace(t *testing.T) {
	pictures, err := slowPictures()
	if err != nil || len(pictures) != slowCameras || bytes.Equal(pictures[0], pictures[1]) {
		t.Fatalf("%v, %d pictures", err, len(pictures))
	}
	began := time.Now()
	one, err := decodeAtPace(t.Context(), pictures, time.Second)
	if took := time.Since(began); err != nil || took < 900*time.Millisecond || one <= 0 || one > took/slowCameras {
		t.Errorf("%v: one takes %v, four took %v", err, one, took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := decodeAtPace(ctx, pictures, time.Minute); err == nil {
		t.Error("it goes on when it is to end")
	}
}

// TestStamps: every message is read, and those at the start don't count.
func TestStamps(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		message := make([]byte, stampBytes)
		for range handoverFirst + handoverFrames {
			now := uint64(monotonic())
			for i := range 8 {
				message[i] = byte(now >> (8 * i))
			}
			if err := syscall.Sendto(fds[1], message, 0, nil); err != nil {
				return
			}
		}
	}()
	each, err := receiveStamps(fds[0])
	<-sent
	unix.Close(fds[1])
	if err != nil || len(each) != handoverFrames || quantile(each, 0) < 0 {
		t.Errorf("%v, %d stamps", err, len(each))
	}
	if _, err := receiveStamps(fds[0]); err == nil {
		t.Error("a sender that has gone is no error")
	}
	unix.Close(fds[0])
}
