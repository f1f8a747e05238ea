package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/internal/prompt"
)

// What the bench is as a process that the hand-over is measured with.
const (
	loopRole   = "loop"   // CORE NICE: compute for ever
	framesRole = "frames" // SIDE RATE: write gray pictures to standard output
	bytesRole  = "bytes"  // RATE: send stamps through descriptor 3
)

// numbers reads a role's arguments.
func numbers(args []string, want int) ([]int, error) {
	if len(args) != want {
		return nil, fmt.Errorf("%d numbers are needed, got %q", want, args)
	}
	all := make([]int, want)
	for i, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no number", a)
		}
		all[i] = n
	}
	return all, nil
}

// loop keeps a core busy until the process is killed, at the latest with the
// one that started it.
func loop(ctx context.Context, args []string, _ io.Writer) error {
	n, err := numbers(args, 2)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	var one unix.CPUSet
	one.Set(n[0])
	err = unix.SchedSetaffinity(0, &one)
	prompt.Humble(n[1])
	parent := os.Getppid()
	for i := 0; err == nil && ctx.Err() == nil; i++ {
		if i%(1<<28) == 0 && os.Getppid() != parent {
			return nil
		}
	}
	return err
}

// frames writes pictures at a rate until nobody reads them.
func frames(_ context.Context, args []string, out io.Writer) error {
	n, err := numbers(args, 2)
	if err != nil || n[1] == 0 {
		return errors.Join(err, errors.New("frames: SIDE and RATE are needed"))
	}
	picture := make([]byte, n[0]*n[0])
	tick := time.NewTicker(time.Second / time.Duration(n[1]))
	defer tick.Stop()
	for range tick.C {
		if _, err := out.Write(picture); err != nil {
			return nil // the reader has gone
		}
	}
	return nil
}

// stampBytes is the size of a bare message: that of a frame's.
const stampBytes = 150

// sendBytes sends the kernel's time at a rate until nobody receives it.
func sendBytes(_ context.Context, args []string, _ io.Writer) error {
	n, err := numbers(args, 1)
	if err != nil || n[0] == 0 {
		return errors.Join(err, errors.New("bytes: RATE is needed"))
	}
	message := make([]byte, stampBytes)
	tick := time.NewTicker(time.Second / time.Duration(n[0]))
	defer tick.Stop()
	for range tick.C {
		binary.LittleEndian.PutUint64(message, uint64(monotonic()))
		if err := unix.Sendmsg(3, message, nil, nil, unix.MSG_NOSIGNAL); err != nil {
			return nil // the receiver has gone
		}
	}
	return nil
}

// monotonic is the clock that all processes share, ns.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic("BUG: no CLOCK_MONOTONIC: " + err.Error()) // every Linux has it
	}
	return t.Nano()
}

// handBytes is a turn without anything of ours: a message to a thread that
// does nothing but wait for it.
func handBytes(self string) Turn {
	return func(ctx context.Context) (Sample, error) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return Sample{}, fmt.Errorf("make a socket: %w", err)
		}
		defer unix.Close(fds[0])
		theirs := os.NewFile(uintptr(fds[1]), "socket")
		defer theirs.Close()
		cmd := exec.CommandContext(ctx, self, bytesRole, strconv.Itoa(handoverRate))
		cmd.ExtraFiles = []*os.File{theirs}
		if err := cmd.Start(); err != nil {
			return Sample{}, fmt.Errorf("start a sender: %w", err)
		}
		each, err := receiveStamps(fds[0])
		_ = errors.Join(cmd.Process.Kill(), cmd.Wait()) // it ends in no other way
		return p99(each), err
	}
}

func receiveStamps(fd int) (each []float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	message := make([]byte, stampBytes)
	each = make([]float64, 0, handoverFrames)
	for n := range handoverFirst + handoverFrames {
		if got, _, _, _, err := unix.Recvmsg(fd, message, nil, 0); err != nil || got != stampBytes {
			return each, fmt.Errorf("receive stamp %d: %d bytes: %w", n, got, err)
		}
		if age := monotonic() - int64(binary.LittleEndian.Uint64(message)); n >= handoverFirst {
			each = append(each, milliseconds(time.Duration(age)))
		}
	}
	return each, nil
}
