package ipcam

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Stream makes coded pictures at the pace at which they are to be sent, calling
// emit for each, until it ends, ctx does, or emit fails.
type Stream func(ctx context.Context, emit func(AccessUnit) error) error

// HaveFFmpeg reports whether streams can be made on this machine.
func HaveFFmpeg() bool {
	_, err := exec.LookPath("ffmpeg")
	return err == nil
}

// Recording plays a file as H.264 at its own rate, once or again and again.
func Recording(file string, loop bool) Stream {
	args := []string{"-hide_banner", "-loglevel", "error", "-nostdin", "-re"}
	if loop {
		args = append(args, "-stream_loop", "-1")
	}
	args = append(append(args, "-i", file), H264.encoder(18)...)
	return func(ctx context.Context, emit func(AccessUnit) error) error {
		if err := ffmpeg(ctx, H264, args, nil, emit); err != nil {
			return fmt.Errorf("play %s: %w", file, err)
		}
		return nil
	}
}

// Drawn encodes what a Drawer draws, as the wall clock asks for it.
func Drawn(d Drawing) (Stream, error) {
	args := []string{"-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24",
		"-s", fmt.Sprintf("%dx%d", d.Width, d.Height), "-r", strconv.FormatFloat(d.Rate, 'f', -1, 64), "-i", "-"}
	if d.Width%2 != 0 || d.Height%2 != 0 {
		return nil, fmt.Errorf("drawn camera: size %dx%d: %v needs even sides", d.Width, d.Height, d.Codec)
	}
	args = append(args, d.Codec.encoder(20)...)
	return func(ctx context.Context, emit func(AccessUnit) error) error {
		return ffmpeg(ctx, d.Codec, args, func(ctx context.Context, w io.Writer) error {
			f := d.frame()
			return d.play(ctx, func(n int) error {
				if err := d.Drawer.Frame(n, f); err != nil {
					return err
				}
				_, err := w.Write(f.Pix)
				return err
			})
		}, emit)
	}, d.check()
}

// Switch is a Stream that can be exchanged while viewers watch: for one of
// another size, codec or content, without a word to them, as cameras do whose
// settings are changed. Make it with NewSwitch; its method Play is the Stream.
type Switch struct {
	mu     sync.Mutex // protects what follows
	now    Stream
	change chan struct{} // closed when now is exchanged
}

// NewSwitch plays first, until To.
func NewSwitch(first Stream) *Switch { return &Switch{now: first, change: make(chan struct{})} }

// To lets next play instead, from its first picture on.
func (s *Switch) To(next Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = next
	close(s.change)
	s.change = make(chan struct{})
}

// Play is the Stream. It ends when one that plays does.
func (s *Switch) Play(ctx context.Context, emit func(AccessUnit) error) error {
	for {
		s.mu.Lock()
		now, change := s.now, s.change
		s.mu.Unlock()
		part, stop := context.WithCancel(ctx)
		over := make(chan struct{})
		go func() {
			defer close(over)
			select {
			case <-change:
				stop()
			case <-part.Done():
			}
		}()
		err := now(part, emit)
		stop()
		<-over
		select {
		case <-change:
			if err == nil && ctx.Err() == nil {
				continue
			}
		default:
		}
		return err
	}
}

// ffmpeg runs the program with what feed writes and hands on what it makes.
func ffmpeg(ctx context.Context, codec Codec, args []string, feed func(context.Context, io.Writer) error, emit func(AccessUnit) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start ffmpeg: %w", err)
	}
	var in io.WriteCloser
	if feed != nil {
		if in, err = cmd.StdinPipe(); err != nil {
			return fmt.Errorf("start ffmpeg: %w", err)
		}
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%v needs the program ffmpeg: apt-get install ffmpeg", codec)
		}
		return fmt.Errorf("start ffmpeg: %w", err)
	}
	fed := make(chan error, 1)
	go func() {
		if feed == nil {
			fed <- nil
			return
		}
		err := feed(ctx, in)
		in.Close()
		fed <- err
	}()
	err = codec.split(out, emit)
	alive := ctx.Err() == nil
	cancel()
	ferr := <-fed
	werr := cmd.Wait()
	switch {
	case !alive:
		return nil
	case err != nil:
		return err
	case ferr != nil && !errors.Is(ferr, syscall.EPIPE) && !errors.Is(ferr, os.ErrClosed):
		return ferr
	case said.Len() > 0:
		return fmt.Errorf("ffmpeg: %s (%v)", strings.TrimSpace(said.String()), werr)
	}
	return nil
}
