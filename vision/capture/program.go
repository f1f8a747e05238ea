package capture

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
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/vision"
)

// How a program is ended, and what of its words is kept.
const (
	programGrace = 200 * time.Millisecond // from SIGTERM to SIGKILL; the worker itself has stopGrace
	programLines = 5                      // of its standard error in the reason why it ended
	programLine  = 400                    // bytes of a line
	programPipe  = 1 << 20                // bytes; the kernel's usual most
)

// programReader reads frames from a program's standard output. A goroutine
// takes them off the pipe as they come and keeps only the newest, so that the
// program is never held up.
type programReader struct {
	ctx    context.Context
	format string
	width  int
	height int
	wait   time.Duration // longest for a picture
	grace  time.Duration // from SIGTERM to SIGKILL
	begun  bool          // one has come

	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended; it is collected by Close
	out    *os.File
	words  *programWords

	raw  *rawPump // of frames without a code
	jpeg *jpegPump
}

// openProgram starts a program that writes raw frames to its standard output.
// It is a child of this process and dies with it.
func openProgram(ctx context.Context, o order) (reader, opened, error) {
	args, err := splitWords(o.At)
	if err != nil {
		return nil, opened{}, fmt.Errorf("the program's command: %w", err)
	}
	if len(args) == 0 {
		return nil, opened{}, errors.New("no program is named: exec:/path/of/program and its arguments")
	}
	opt := o.Options
	r := &programReader{ctx: ctx, format: opt.Format, width: opt.Width, height: opt.Height, wait: o.read(), grace: programGrace, exited: make(chan struct{})}
	var size int
	switch r.format {
	case "BGR24":
		size = 3 * r.width * r.height
	case "GRAY8":
		size = r.width * r.height
	case "NV12":
		size = r.width * r.height * 3 / 2
	case "MJPEG":
	default:
		return nil, opened{}, fmt.Errorf("the program's format %q isn't known: %s are", r.format, strings.Join(ExecFormats, ", "))
	}
	if err := r.start(args); err != nil {
		return nil, opened{}, fmt.Errorf("start the program %.80q: %w", args[0], bareExec(err))
	}
	if size == 0 {
		r.jpeg = newJPEGPump()
		go r.jpeg.run(r.out)
	} else {
		r.raw = newRawPump(size)
		go r.raw.run(r.out)
	}
	return r, opened{Width: r.width, Height: r.height, Codec: strings.ToLower(r.format), Reader: "exec"}, nil
}

// bareExec drops the program's name, which the message has already.
func bareExec(err error) error {
	var ee *exec.Error
	if errors.As(err, &ee) {
		return ee.Err
	}
	return bare(err)
}

// start runs the program in a process group of its own, without a shell and
// without anything to read.
func (r *programReader) start(args []string) error {
	out, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outW.Close()
	words, wordsW, err := os.Pipe()
	if err != nil {
		out.Close()
		return err
	}
	defer wordsW.Close()
	_, _ = unix.FcntlInt(outW.Fd(), unix.F_SETPIPE_SZ, programPipe) // a smaller pipe works, with more wake-ups
	closeOnExec()
	r.cmd = exec.Command(args[0], args[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = outW, wordsW
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		out.Close()
		words.Close()
		return err
	}
	r.out, r.words = out, newProgramWords(words)
	go func() {
		defer close(r.exited)
		// It stays a zombie, so that its number, and its group's, are nobody else's until Close.
		_ = ignoringEINTR(func() error {
			return unix.Waitid(unix.P_PID, r.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		})
	}()
	return nil
}

// closeOnExec keeps from a program what this process itself was given open.
func closeOnExec() {
	fds, _ := os.ReadDir("/proc/self/fd") // always there
	for _, f := range fds {
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// Read gives the newest whole frame.
func (r *programReader) Read(room roomFunc) (shot, error) {
	wait := r.wait
	if !r.begun {
		wait = max(wait, openPatience*9/10) // it may have a camera to open
	}
	var s shot
	var err error
	if r.jpeg != nil {
		s, err = r.jpeg.read(r.ctx, wait, room)
	} else {
		s, err = r.frame(wait, room)
	}
	bad := errUnreadable{}
	switch {
	case err == nil, errors.As(err, &bad):
		r.begun = true
		return s, err
	case r.ctx.Err() != nil, errors.Is(err, errGone):
		return s, err
	case errors.Is(err, errQuiet) && r.begun:
		return s, fmt.Errorf("the program stopped writing: nothing whole in %v", wait)
	case errors.Is(err, errQuiet):
		return s, fmt.Errorf("the program has written no picture in %v%s", wait, r.part())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return s, r.ended()
	}
	return s, err
}

// part says what came of a frame that isn't whole.
func (r *programReader) part() string {
	if r.raw == nil {
		return ""
	}
	got, size := r.raw.partly()
	if got == 0 {
		return ""
	}
	return fmt.Sprintf("; the last one has %d of %d bytes: is the size %dx%d right, and the format %s?", got, size, r.width, r.height, r.format)
}

// ended says how a program ended that closed its output.
func (r *programReader) ended() error {
	t := time.NewTimer(programGrace)
	defer t.Stop()
	select {
	case <-r.exited:
	case <-t.C:
		return fmt.Errorf("its program closed its output and runs on%s%s", r.part(), r.words.last())
	}
	r.words.finish(programGrace)
	r.end()
	return fmt.Errorf("its program ended: %v%s%s", r.cmd.ProcessState, r.part(), r.words.last())
}

// frame takes the newest frame of raw pixels.
func (r *programReader) frame(wait time.Duration, room roomFunc) (shot, error) {
	f, err := r.raw.take(r.ctx, wait)
	if err != nil {
		return shot{}, err
	}
	defer r.raw.giveBack(f.pix)
	s := shot{taken: taken{Width: r.width, Height: r.height, Mono: f.mono, Timing: vision.Arrived, Gray: r.format == "GRAY8"}, skipped: f.skipped}
	bytes := 3 * r.width * r.height
	if s.Gray {
		bytes = r.width * r.height
	}
	mem, err := room(bytes)
	switch {
	case err != nil:
		return shot{}, err
	case mem == nil:
		s.empty = true
	case r.format == "NV12":
		nv12ToBGR(mem[:bytes], f.pix, r.width, r.height)
	default:
		copy(mem, f.pix)
	}
	return s, nil
}

// Close ends the program and its group.
func (r *programReader) Close() {
	r.end()
	r.out.Close()
	if r.jpeg != nil {
		r.jpeg.drain()
	} else {
		r.raw.drain()
	}
	r.words.close()
}

// end signals the group, first to end in order, and collects the program.
func (r *programReader) end() {
	if r.cmd.ProcessState != nil {
		return
	}
	group := -r.cmd.Process.Pid
	_ = unix.Kill(group, unix.SIGTERM) // one that has ended is fine
	t := time.NewTimer(r.grace)
	defer t.Stop()
	select {
	case <-r.exited:
	case <-t.C:
	}
	_ = unix.Kill(group, unix.SIGKILL) // its children as well
	_ = r.cmd.Wait()                   // the state is what counts
}

// programWords reads what a program says on its standard error.
type programWords struct {
	from *os.File
	done chan struct{}

	mu    sync.Mutex // protects lines
	lines []string   // the newest
}

func newProgramWords(from *os.File) *programWords {
	w := &programWords{from: from, done: make(chan struct{})}
	go w.run()
	return w
}

// run hands the lines on to our standard error, which the agent logs, redacted.
func (w *programWords) run() {
	defer close(w.done)
	in := bufio.NewScanner(w.from)
	in.Split(boundedLines(programLine))
	for in.Scan() {
		text := strings.TrimSpace(strings.ToValidUTF8(in.Text(), "?"))
		if text == "" {
			continue
		}
		fmt.Fprintln(os.Stderr, text)
		w.mu.Lock()
		if w.lines = append(w.lines, text); len(w.lines) > programLines {
			w.lines = w.lines[1:]
		}
		w.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, w.from) // nothing is left, or the pipe is closed
}

// boundedLines splits at line ends, and where a line is written over (\r). Of a
// longer line it gives the beginning.
func boundedLines(most int) bufio.SplitFunc {
	rest := false // of a line whose beginning has been given
	return func(data []byte, eof bool) (int, []byte, error) {
		i := bytes.IndexAny(data, "\r\n")
		switch {
		case i >= 0 && rest:
			rest = false
			return i + 1, nil, nil
		case i >= 0:
			return i + 1, data[:min(i, most)], nil
		case rest:
			return len(data), nil, nil
		case len(data) >= most:
			rest = true
			return len(data), data[:most], nil
		case eof && len(data) > 0:
			return len(data), data, nil
		}
		return 0, nil, nil
	}
}

// finish waits for the last words of a program that has ended.
func (w *programWords) finish(most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-w.done:
	case <-t.C:
	}
}

func (w *programWords) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lines) == 0 {
		return ""
	}
	return ": " + strings.Join(w.lines, " | ")
}

func (w *programWords) close() {
	w.from.Close()
	<-w.done
}
