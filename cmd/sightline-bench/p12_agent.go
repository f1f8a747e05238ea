package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// camera serves drawn pictures as MJPEG until stop is called.
func camera(ctx context.Context, seed uint64, hertz float64) (source string, stop func() error, err error) {
	drawn, err := scene.New(scene.Config{Width: 640, Height: 360, Rate: hertz, Seed: seed})
	if err != nil {
		return "", nil, err
	}
	c, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: drawn, Width: 640, Height: 360, Rate: hertz})
	if err != nil {
		return "", nil, err
	}
	server, film := httptest.NewServer(c), startTasks(ctx, c.Run)
	return server.URL + "/camera", func() error {
		server.CloseClientConnections()
		server.Close()
		return film.end()
	}, nil
}

// runner is a real agent as a service manager runs it, one station a camera.
type runner struct {
	env          *Env
	config, addr string
	cmd          *exec.Cmd // nil while it doesn't run
}

// newRunner writes a configuration into dir; it starts nothing.
func newRunner(env *Env, dir string, sources []string) (*runner, error) {
	addr, err := cable.FreeAddress("127.0.0.1")
	if err != nil {
		return nil, err
	}
	r := &runner{env: env, addr: addr, config: filepath.Join(dir, "station.yaml")}
	var text strings.Builder
	fmt.Fprintf(&text, "listen: %q\ndata: %q\nstations:\n", r.addr, filepath.Join(dir, "data"))
	for n, s := range sources {
		fmt.Fprintf(&text, "  - id: station%d\n    camera: {source: %q}\n    model: drawn-parts\n", n+1, s)
	}
	if err := os.WriteFile(r.config, []byte(text.String()), 0o600); err != nil {
		return nil, fmt.Errorf("configure an agent: %w", err)
	}
	return r, nil
}

func (r *runner) start() error {
	cmd := exec.Command(filepath.Join(r.env.Bin, "sightline-agent"), "run", "--config", r.config)
	cmd.Env = append(os.Environ(), infer.ProviderEnv+"="+string(infer.CPU), "SIGHTLINE_ONNXRUNTIME="+r.env.ORT)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start an agent: %w", err)
	}
	r.cmd = cmd
	return nil
}

// kill ends the agent as a crash would; its workers end with it.
func (r *runner) kill() error {
	if r.cmd == nil {
		return nil
	}
	err := r.cmd.Process.Kill()
	_ = r.cmd.Wait() // says only that it was killed
	r.cmd = nil
	return err
}

// ask reads one of the agent's answers.
func (r *runner) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// inspected is how many frames each station has a result of.
func (r *runner) inspected(ctx context.Context) []uint64 {
	var answer struct {
		Stations []struct {
			Views []struct {
				Inferred uint64 `json:"frames_inferred"`
			}
		}
	}
	if err := r.ask(ctx, "/v1/stations", &answer); err != nil {
		return nil // it isn't up yet
	}
	var all []uint64
	for _, s := range answer.Stations {
		sum := uint64(0)
		for _, v := range s.Views {
			sum += v.Inferred
		}
		all = append(all, sum)
	}
	return all
}

// askEvery is how often the agent is asked: an answer costs it about a
// millisecond while it starts.
const askEvery = 5 * time.Millisecond

// works waits until every station has results of at least so many frames.
func (r *runner) works(ctx context.Context, frames uint64) error {
	ctx, cancel := context.WithTimeout(ctx, rigLimit)
	defer cancel()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		all := r.inspected(ctx)
		if len(all) > 0 && slices.Min(all) >= frames {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the agent's results: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// took is how long do needs, in ms.
func took(do func() error) (float64, error) {
	began := time.Now()
	err := do()
	return milliseconds(time.Since(began)), err
}
