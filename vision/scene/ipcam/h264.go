package ipcam

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// AccessUnit is one coded H.264 picture with its parameter sets, in Annex B.
type AccessUnit struct {
	Data []byte
	Key  bool // decoding can begin here
}

// Stream makes H.264 at the pace at which it is to be sent, calling emit for
// each picture, until it ends, ctx does, or emit fails.
type Stream func(ctx context.Context, emit func(AccessUnit) error) error

// keyEvery is after how many pictures decoding can begin anew; viewers wait
// for it when they join.
const keyEvery = 15

// encoder is how ffmpeg is to write: no delay, one slice a picture, an access
// unit delimiter before each, and parameter sets with every key picture.
func encoder(quality int) []string {
	return []string{"-an", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
		"-threads", "1", "-crf", strconv.Itoa(quality),
		"-x264-params", fmt.Sprintf("keyint=%d:min-keyint=%d:scenecut=0:sliced-threads=0:slices=1:aud=1:repeat-headers=1", keyEvery, keyEvery),
		"-f", "h264", "-flush_packets", "1", "-"}
}

// HaveFFmpeg reports whether streams can be made on this machine.
func HaveFFmpeg() bool {
	_, err := exec.LookPath("ffmpeg")
	return err == nil
}

// Recording plays a file at its own rate, once or again and again.
func Recording(file string, loop bool) Stream {
	args := []string{"-hide_banner", "-loglevel", "error", "-nostdin", "-re"}
	if loop {
		args = append(args, "-stream_loop", "-1")
	}
	args = append(append(args, "-i", file), encoder(18)...)
	return func(ctx context.Context, emit func(AccessUnit) error) error {
		if err := ffmpeg(ctx, args, nil, emit); err != nil {
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
		return nil, fmt.Errorf("drawn camera: size %dx%d: H.264 needs even sides", d.Width, d.Height)
	}
	args = append(args, encoder(20)...)
	return func(ctx context.Context, emit func(AccessUnit) error) error {
		return ffmpeg(ctx, args, func(ctx context.Context, w io.Writer) error {
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

// ffmpeg runs the program with what feed writes and hands on what it makes.
func ffmpeg(ctx context.Context, args []string, feed func(context.Context, io.Writer) error, emit func(AccessUnit) error) error {
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
			return errors.New("H.264 needs the program ffmpeg: apt-get install ffmpeg")
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
	err = split(out, emit)
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

// H.264's kinds of NAL units that matter here (ITU-T H.264 table 7-1).
const (
	nalIDR       = 5
	nalDelimiter = 9
	maxUnit      = 32 << 20 // bytes
)

// split cuts a stream of Annex B at its access unit delimiters.
func split(r io.Reader, emit func(AccessUnit) error) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var unit []byte
	from := 0 // where to look for the next delimiter
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		unit = append(unit, buf[:n]...)
		for {
			at := delimiter(unit, max(from-5, 3)) // not its own
			if at < 0 {
				from = len(unit)
				break
			}
			if err := emit(newUnit(unit[:at])); err != nil {
				return err
			}
			unit, from = append([]byte(nil), unit[at:]...), 0
		}
		if len(unit) > maxUnit {
			return fmt.Errorf("split H.264: no access unit delimiter in %d MiB", maxUnit>>20)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
			if len(unit) > 0 {
				return emit(newUnit(unit))
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("split H.264: %w", err)
		}
	}
}

// delimiter finds the start code of the next delimiter at or behind from, -1
// if there is none.
func delimiter(b []byte, from int) int {
	for p := from; ; p += 3 {
		i := bytes.Index(b[min(p, len(b)):], []byte{0, 0, 1})
		if i < 0 || p+i+3 >= len(b) {
			return -1
		}
		p += i
		if b[p+3]&0x1f == nalDelimiter {
			if p > 0 && b[p-1] == 0 && p-1 >= from {
				p-- // the start code with four bytes
			}
			return p
		}
	}
}

func newUnit(b []byte) AccessUnit {
	u := AccessUnit{Data: b}
	for p := 0; ; p += 3 {
		i := bytes.Index(b[p:], []byte{0, 0, 1})
		if i < 0 || p+i+3 >= len(b) {
			return u
		}
		p += i
		u.Key = u.Key || b[p+3]&0x1f == nalIDR
	}
}
