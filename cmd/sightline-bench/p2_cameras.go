package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/scene"
)

// filmRole is the bench as many live cameras: CAMERAS MILLIHERTZ WIDTH HEIGHT. Their
// pictures are drawn and encoded before they are asked for, so that it costs next to
// no processor time of what is measured.
const filmRole = "film"

// filmSeconds is how long a camera shows something new; then it begins again.
const filmSeconds = 3

// films are MJPEG cameras with the same rate, each at moments of its own.
type films struct {
	began    time.Time
	period   time.Duration
	pictures [][][]byte // of each camera, in order
}

// serveFilm serves cameras until its standard input ends.
func serveFilm(_ context.Context, args []string, out io.Writer) error {
	n, err := numbers(args, 4)
	if err != nil || n[1] == 0 {
		return errors.Join(err, errors.New("film: CAMERAS MILLIHERTZ WIDTH HEIGHT are needed"))
	}
	hertz := float64(n[1]) / 1e3
	f := films{period: time.Duration(float64(time.Second) / hertz)}
	for c := range n[0] {
		all, err := drawFilm(scene.Config{Width: n[2], Height: n[3], Rate: hertz, Seed: uint64(c + 1)})
		if err != nil {
			return fmt.Errorf("draw camera %d: %w", c, err)
		}
		f.pictures = append(f.pictures, all)
	}
	f.began = time.Now()
	l, err := listen(out)
	if err != nil {
		return fmt.Errorf("serve cameras: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{camera}", f.serve)
	server := http.Server{Handler: mux}
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve cameras: %w", err)
	}
	return nil
}

func drawFilm(c scene.Config) (all [][]byte, err error) {
	drawn, err := scene.New(c)
	if err != nil {
		return nil, err
	}
	f := drawn.NewFrame()
	for n := range max(int(filmSeconds*c.Rate), 2) {
		if err := drawn.Frame(n, f); err != nil {
			return nil, err
		}
		b, err := picture.EncodeJPEG(f, picture.Encoding{})
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// serve sends a camera's pictures at its moments until the viewer goes. One that
// doesn't keep up misses some.
func (f *films) serve(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("camera"))
	if err != nil || n < 0 || n >= len(f.pictures) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
	out := http.NewResponseController(w)
	first := f.began.Add(f.phase(n))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for tick := int(time.Since(first) / f.period); ; {
		tick = max(tick+1, int(time.Since(first)/f.period))
		timer.Reset(time.Until(first.Add(time.Duration(tick) * f.period)))
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		pic := f.pictures[n][max(tick, 0)%len(f.pictures[n])]
		if _, err := fmt.Fprintf(w, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", len(pic), pic); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
	}
}

// phase spreads the cameras' moments over the period, in no simple ratio.
func (f *films) phase(n int) time.Duration {
	const golden = 0.6180339887
	share := float64(n) * golden
	return time.Duration((share - float64(int(share))) * float64(f.period))
}

// listen is a child's listener. It says where that is, and closes it when the standard
// input ends, with whoever started the child.
func listen(out io.Writer) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // an error ends it, too
		_ = l.Close()                        // Accept's error tells
	}()
	_, err = fmt.Fprintln(out, l.Addr())
	return l, err
}

// child is this program in another role, until it is ended; it says where it listens.
type child struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startChild(ctx context.Context, role string, args ...int) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	words := []string{role}
	for _, a := range args {
		words = append(words, strconv.Itoa(a))
	}
	cmd := exec.CommandContext(ctx, self, words...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c := &child{cmd: cmd, in: in}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", role, err), c.end())
	}
	c.addr = strings.TrimSpace(line)
	return c, nil
}

func (c *child) end() error { return errors.Join(c.in.Close(), c.cmd.Wait()) }

// liveCameras starts cameras of that rate and gives their addresses.
func liveCameras(ctx context.Context, cameras int, hertz float64, width, height int) (*child, []string, error) {
	c, err := startChild(ctx, filmRole, cameras, int(hertz*1e3), width, height)
	if err != nil {
		return nil, nil, err
	}
	var all []string
	for n := range cameras {
		all = append(all, fmt.Sprintf("http://%s/%d", c.addr, n))
	}
	return c, all, nil
}
