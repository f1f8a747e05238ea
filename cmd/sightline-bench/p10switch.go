package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

const (
	switches   = 10
	switchName = "drawn-parts"
)

// switchRows measures what a station loses while it switches between two signed
// bundles again and again, by rollouts, against the same time without.
func switchRows(ctx context.Context, env *Env) ([]Row, error) {
	if err := needs(env.ORT, filepath.Join(env.Bin, "sightline-agent"), filepath.Join(env.Bin, "sightline")); err != nil {
		return nil, err
	}
	return withRig(ctx, func(r *rig) (rows []Row, err error) {
		s := &switching{rig: r, env: env, watched: watched{token: auth.NewSecret(auth.TokenPrefix)}}
		if err := s.publish(ctx); err != nil {
			return nil, fmt.Errorf("publish two bundles: %w", err)
		}
		stop, err := s.start(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start a station: %w", err), stop())
		}
		defer func() { err = errors.Join(err, stop()) }()
		return s.measure(ctx)
	})
}

// switching is a fleet with two bundles, and a real agent that follows them.
type switching struct {
	*rig
	watched
	env *Env
}

// watched is an agent with one station, belt, that is asked how it is doing.
type watched struct {
	agent string // where it answers
	token string // of the fleet's interface, which is asked too
}

// command runs one of the programs, logged in to the fleet.
func (s *switching) command(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.env.Bin, name), args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"), "SIGHTLINE_ONNXRUNTIME="+s.env.ORT)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// version is the one that switch n goes to.
func version(n int) string { return fmt.Sprintf("1.%d.0", 1+n%2) }

// publish makes keys and two versions of the shipped model, signed.
func (s *switching) publish(ctx context.Context) error {
	err := s.store.AddAPIToken(ctx, store.APIToken{
		Key: auth.KeyOf(s.token), Name: "switch", User: fleet.FirstUser, Role: auth.Admin, Expires: s.store.Now().Add(time.Hour),
	})
	if err != nil {
		return err
	}
	keys, pass, folder := filepath.Join(s.dir, "keys"), filepath.Join(s.dir, "passphrase"), filepath.Join(s.dir, "bundle")
	if err := os.WriteFile(pass, []byte("for a minute\n"), 0o600); err != nil {
		return err
	}
	if _, err := mutant.Drawn(folder, mutant.GoldenPictures); err != nil {
		return err
	}
	all := [][]string{
		{s.token + "\n", "login", "--fleet", "http://" + s.fleet.HTTPAddr(), "--token-stdin"},
		{"", "keys", "init", "--dir", keys, "--passphrase-file", pass},
		{"", "bundle", "golden", folder, "--images", filepath.Join(folder, "golden"), "--agent", filepath.Join(s.env.Bin, "sightline-agent")},
	}
	for _, c := range all {
		if err := s.command(ctx, c[0], "sightline", c[1:]...); err != nil {
			return err
		}
	}
	for n := range 2 {
		file := folder + version(n) + ".slb"
		err := mutant.SetVersion(folder, switchName, version(n))
		if err == nil {
			err = s.command(ctx, "", "sightline", "bundle", "pack", folder, "--out", file)
		}
		if err == nil {
			err = s.command(ctx, "", "sightline", "publish", file, "--keys", keys, "--passphrase-file", pass)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start runs a camera and an enrolled agent. What it gives ends both, with an
// error too.
func (s *switching) start(ctx context.Context) (stop func() error, err error) {
	source, dark, err := belt(ctx)
	if err != nil {
		return func() error { return nil }, err
	}
	config, err := s.configure(ctx, source)
	if err != nil {
		return dark, err
	}
	agent := exec.Command(filepath.Join(s.env.Bin, "sightline-agent"), "run", "--config", config)
	agent.Env = append(os.Environ(), "SIGHTLINE_ONNXRUNTIME="+s.env.ORT)
	if err := agent.Start(); err != nil {
		return dark, err
	}
	stop = func() error { return errors.Join(agent.Process.Signal(syscall.SIGTERM), agent.Wait(), dark()) }
	return stop, await(ctx, func() bool {
		n, err := s.look(ctx)
		return err == nil && n.verdicts > 5
	})
}

// belt serves a drawn camera until stop is called.
func belt(ctx context.Context) (source string, stop func() error, err error) {
	drawn, err := scene.New(scene.Config{Width: 640, Height: 360, Speed: 2})
	if err != nil {
		return "", nil, err
	}
	camera, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: drawn, Width: 640, Height: 360, Rate: scene.DefaultRate})
	if err != nil {
		return "", nil, err
	}
	server, film := httptest.NewServer(camera), startTasks(ctx, camera.Run)
	return server.URL + "/camera", func() error {
		server.CloseClientConnections()
		server.Close()
		return film.end()
	}, nil
}

// configure writes the agent's configuration and enrols it.
func (s *switching) configure(ctx context.Context, source string) (file string, err error) {
	if s.agent, err = cable.FreeAddress("127.0.0.1"); err != nil {
		return "", err
	}
	file = filepath.Join(s.dir, "station.yaml")
	text := fmt.Sprintf("listen: %q\ndata: %q\nfleet: {report: 1s}\nstations:\n  - id: belt\n    camera: {source: %q}\n    model: %s\n    bundle: %s\n",
		s.agent, filepath.Join(s.dir, "device"), source, switchName, switchName)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return "", err
	}
	token, err := enroll.NewService(s.ca, s.store, enroll.Config{}).Token(ctx, "bench", 0)
	if err != nil {
		return "", err
	}
	return file, s.command(ctx, "", "sightline-agent", "enroll", "--fleet", "https://"+s.fleet.Addr(), "--token", token.String(), "--config", file)
}

// told is what a station has done since its start.
type told struct {
	verdicts, none, late float64
	captured, inferred   float64
	lost                 float64 // pictures that a model looked at in vain, or too late
	age                  float64 // p99 of the newest pictures at their result, ms
}

func (a told) since(b told) told {
	return told{a.verdicts - b.verdicts, a.none - b.none, a.late - b.late, a.captured - b.captured, a.inferred - b.inferred, a.lost - b.lost, a.age}
}

// inTime is the share of verdicts that were told by their deadline.
func (a told) inTime() float64 { return 1 - (a.none+a.late)/a.verdicts }

// seen is the share of pictures that the model saw.
func (a told) seen() float64 { return a.inferred / a.captured }

var lateRecords = regexp.MustCompile(`(?m)^sightline_journal_records_late_total (\S+)$`)

func (s *watched) look(ctx context.Context) (n told, err error) {
	var station struct {
		Counts struct{ Pass, Fail, None float64 }
		Views  []struct {
			Inferred float64 `json:"frames_inferred"`
			Failed   float64 `json:"frames_failed"`
			Late     float64 `json:"frames_late"`
		}
		Age float64 `json:"age_p99_ms"`
	}
	var camera struct {
		Captured float64 `json:"frames_captured"`
	}
	text, err := s.call(ctx, http.MethodGet, "http://"+s.agent+"/v1/stations/belt", nil)
	if err == nil {
		err = json.Unmarshal(text, &station)
	}
	if err == nil {
		text, err = s.call(ctx, http.MethodGet, "http://"+s.agent+"/v1/cameras/belt", nil)
	}
	if err == nil {
		err = json.Unmarshal(text, &camera)
	}
	if err == nil && len(station.Views) != 1 {
		err = errors.New("the station hasn't one camera")
	}
	if err != nil {
		return n, err
	}
	if text, err = s.call(ctx, http.MethodGet, "http://"+s.agent+"/metrics", nil); err != nil {
		return n, err
	}
	late := lateRecords.FindSubmatch(text)
	if late == nil {
		return n, errors.New("the agent doesn't tell how many records were late")
	}
	n.late, err = strconv.ParseFloat(string(late[1]), 64)
	c := station.Counts
	n.verdicts, n.none, n.captured, n.inferred = c.Pass+c.Fail+c.None, c.None, camera.Captured, station.Views[0].Inferred
	n.lost, n.age = station.Views[0].Failed+station.Views[0].Late, station.Age
	return n, err
}

func (s *watched) call(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, res.Status, text)
	}
	return text, err
}

// change rolls a version out and returns when the device has proved it.
func (s *switching) change(ctx context.Context, n int) error {
	rollouts := "http://" + s.fleet.HTTPAddr() + "/v1/rollouts"
	body := fmt.Sprintf(`{"bundle":%q,"version":%q,"group":"bench","verdicts":3,"probation_ms":1000}`, switchName, version(n))
	var r struct{ ID, State, Reason string }
	text, err := s.call(ctx, http.MethodPost, rollouts, []byte(body))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return err
	}
	err = await(ctx, func() bool {
		text, err := s.call(ctx, http.MethodGet, rollouts+"/"+r.ID, nil)
		return err == nil && json.Unmarshal(text, &r) == nil && r.State != "running"
	})
	if err == nil && r.State != "succeeded" {
		err = fmt.Errorf("the rollout is %s: %s", r.State, r.Reason)
	}
	return err
}

// measure takes a time with switches and one of the same length without.
func (s *switching) measure(ctx context.Context) ([]Row, error) {
	before, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for n := range switches {
		if err := s.change(ctx, n); err != nil {
			return nil, fmt.Errorf("switch %d of %d: %w", n+1, switches, err)
		}
	}
	took := time.Since(began)
	between, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	busy, steady := between.since(before), after.since(between)
	row := func(id, goal, what string, ours, bare float64) Row {
		return Row{ID: id, Goal: goal, What: what, Ours: ours, Bare: bare, Ratio: ours / bare, Worst: ours / bare}
	}
	return []Row{
		row("P10/switch", ">= 1", fmt.Sprintf("a station that switches %d times between two bundles in %.0f s, by rollouts, one run: share of its %.0f verdicts "+
			"that the model made and that were on disk by the deadline ÷ the same of %.0f in as long without", switches, took.Seconds(), busy.verdicts, steady.verdicts),
			busy.inTime(), steady.inTime()),
		row("P10/switch-frames", toldMore, fmt.Sprintf("the same time, in which a second worker loads and proves itself each time: share of %.0f pictures "+
			"that the model saw ÷ the same of %.0f without", busy.captured, steady.captured), busy.seen(), steady.seen()),
	}, nil
}
