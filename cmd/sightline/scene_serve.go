package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// defaultMJPEG is where the camera is if nobody says otherwise.
const defaultMJPEG = "127.0.0.1:8090"

// sceneServer serves a scene as an IP camera.
type sceneServer struct {
	cfg         scene.Config
	size        string
	mjpeg, rtsp string // addresses; "" for none
	truth       string // file, "" for none
}

func newSceneServeCommand() *cobra.Command {
	var s sceneServer
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Be an IP camera that looks at the belt",
		Long: `Serve the drawn belt as an IP camera until Ctrl-C: MJPEG over HTTP, and H.264
over RTSP where the program ffmpeg is. Nothing that reads from it can know
that it is drawn. The camera runs whether anybody looks or not; whoever is too
slow misses pictures. It has no password: on other addresses than 127.0.0.1 the
network can look too.

--truth writes, at the end, every part that came into view: when it came and
went, counted in seconds from "began", and what is wrong with it.`,
		Example: `  # a camera at http://127.0.0.1:8090/camera
  sightline scene serve

  # as H.264 over RTSP, bigger, with many bad parts
  sightline scene serve --rtsp 127.0.0.1:8554 --size 1280x720 --defect-rate 0.5

  # with the truth, to compare verdicts with
  sightline scene serve --seed 7 --truth truth.json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return s.serve(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.mjpeg, "mjpeg", "", "address of MJPEG over HTTP; "+defaultMJPEG+" where --rtsp isn't given either")
	f.StringVar(&s.rtsp, "rtsp", "", "address of H.264 over RTSP, as 127.0.0.1:8554; needs the program ffmpeg")
	f.Uint64Var(&s.cfg.Seed, "seed", 1, "which world to draw")
	f.StringVar(&s.size, "size", "768x432", "width x height in pixels")
	f.Float64Var(&s.cfg.Rate, "rate", scene.DefaultRate, "frames a second")
	f.Float64Var(&s.cfg.Speed, "speed", 1, "of the belt, against its own")
	f.Float64Var(&s.cfg.DefectRate, "defect-rate", scene.DefaultDefectRate, "share of bad parts, 0 to 1")
	f.StringVar(&s.truth, "truth", "", "file for the truth about each part, written at the end")
	return cmd
}

// check finds what is wrong with the flags.
func (s *sceneServer) check() error {
	if s.mjpeg == "" && s.rtsp == "" {
		s.mjpeg = defaultMJPEG
	}
	for _, a := range []struct{ flag, address string }{{"mjpeg", s.mjpeg}, {"rtsp", s.rtsp}} {
		if a.address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.address); err != nil {
			return cli.Usage("--%s %q: must be an address and a port, like 127.0.0.1:8090", a.flag, a.address)
		}
	}
	var err error
	if s.cfg.Width, s.cfg.Height, err = sceneSize(s.size); err != nil {
		return err
	}
	if s.cfg.DefectRate, err = sceneDefects(s.cfg.DefectRate); err != nil {
		return err
	}
	switch {
	case !(s.cfg.Speed > 0):
		return cli.Usage("--speed %v: must be more than 0", s.cfg.Speed)
	case !(s.cfg.Rate > 0):
		return cli.Usage("--rate %v: must be more than 0", s.cfg.Rate)
	case s.rtsp != "" && (s.cfg.Width%2 != 0 || s.cfg.Height%2 != 0):
		return cli.Usage("--size %q: H.264 over RTSP needs even sides", s.size)
	}
	if _, err := scene.New(s.cfg); err != nil {
		return cli.Usage("%v", err)
	}
	return nil
}

// serve is the camera until ctx ends.
func (s *sceneServer) serve(ctx context.Context, out io.Writer) (err error) {
	if s.rtsp != "" && !ipcam.HaveFFmpeg() {
		return errors.New("serve H.264 over RTSP: the program ffmpeg isn't there: install it (apt-get install ffmpeg), or leave out --rtsp, as MJPEG needs nothing")
	}
	drawn, err := scene.New(s.cfg)
	if err != nil {
		return err
	}
	play := &served{Scene: drawn}
	if s.truth != "" {
		file, err := os.Create(s.truth) // now, as at the end it would be too late to say that it can't be
		if err != nil {
			return fmt.Errorf("write the truth: %w", err)
		}
		if err := file.Close(); err != nil {
			return fmt.Errorf("write the truth: %w", err)
		}
	}
	ports, err := s.open()
	if err != nil {
		return err
	}
	if err := s.announce(out, ports); err != nil {
		ports.close()
		return err
	}
	if err := s.run(ctx, ports, play); err != nil {
		return err
	}
	if s.truth != "" {
		return writeJSON(s.truth, play.truth())
	}
	return nil
}

// ports are the camera's listeners; those that nobody asked for are nil.
type ports struct{ mjpeg, rtsp net.Listener }

func (p ports) close() {
	for _, l := range []net.Listener{p.mjpeg, p.rtsp} {
		if l != nil {
			_ = l.Close() // nothing has come through it
		}
	}
}

func (s *sceneServer) open() (p ports, err error) {
	if p.mjpeg, err = listen("mjpeg", s.mjpeg); err != nil {
		return p, err
	}
	if p.rtsp, err = listen("rtsp", s.rtsp); err != nil {
		p.close()
	}
	return p, err
}

func listen(flag, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("open the camera at %s: another program is there already: stop that one, or choose another port with --%s", address, flag)
	} else if err != nil {
		return nil, fmt.Errorf("open the camera at %s: %w", address, err)
	}
	return l, nil
}

// announce says where the camera is and how to inspect what it shows.
func (s *sceneServer) announce(out io.Writer, p ports) error {
	var text, source string
	if p.rtsp != nil {
		source = "rtsp://" + p.rtsp.Addr().String() + "/camera"
		text = "H.264: " + source + "\n"
	}
	if p.mjpeg != nil {
		source = "http://" + p.mjpeg.Addr().String() + "/camera"
		text = "MJPEG: " + source + "\n" + text
	}
	text += "inspect it: sightline-agent try --source " + source + " --model drawn-parts\nCtrl-C ends it\n"
	_, err := io.WriteString(out, text)
	return err
}

// run answers viewers on the ports until ctx ends.
func (s *sceneServer) run(ctx context.Context, p ports, play *served) error {
	cfg := play.Config()
	drawing := ipcam.Drawing{Drawer: play, Width: cfg.Width, Height: cfg.Height, Rate: cfg.Rate}
	g, ctx := errgroup.WithContext(ctx)
	if p.mjpeg != nil {
		camera, err := ipcam.NewMJPEG(drawing)
		if err != nil {
			p.close()
			return err
		}
		camera.Quality = 90
		server := &http.Server{Handler: camera, ReadHeaderTimeout: 5 * time.Second}
		g.Go(func() error { return camera.Run(ctx) })
		g.Go(func() error {
			defer context.AfterFunc(ctx, func() { server.Close() })()
			if err := server.Serve(p.mjpeg); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	if p.rtsp != nil {
		g.Go(func() error {
			stream, err := ipcam.Drawn(drawing)
			if err != nil {
				return errors.Join(err, p.rtsp.Close())
			}
			return ipcam.RTSP{Stream: stream, Rate: cfg.Rate}.Serve(ctx, p.rtsp)
		})
	}
	return g.Wait()
}

// served is a scene that remembers when it was shown.
type served struct {
	*scene.Scene

	mu    sync.Mutex // protects all below
	began time.Time  // of frame 0; zero while nothing was drawn
	last  int        // the last frame that was drawn
}

// Frame draws frame n now.
func (s *served) Frame(n int, dst *vision.Frame) error {
	s.mu.Lock()
	if s.began.IsZero() {
		s.began = time.Now().Add(-s.Time(n))
	}
	s.last = max(s.last, n)
	s.mu.Unlock()
	return s.Scene.Frame(n, dst)
}

// servedTruth is the file that --truth names.
type servedTruth struct {
	Began time.Time `json:"began"` // when frame 0 was shown
	Until float64   `json:"until"` // seconds, of the last frame that anybody saw
	sceneTruth
}

// truth tells of every part that came into view until the last frame.
func (s *served) truth() servedTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.Time(s.last)
	notes := newSceneNotes(s.Scene)
	notes.first, notes.last = 0, 0
	if !s.began.IsZero() {
		notes.last = len(s.LeftBy(until))
		for s.Part(notes.last).Entered <= until {
			notes.last++
		}
	}
	return servedTruth{Began: s.began, Until: round(until.Seconds()), sceneTruth: *notes.truth()}
}
