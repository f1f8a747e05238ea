package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cable"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

const (
	plcStation   = "line"
	plcHeartbeat = 200 * time.Millisecond
	plcDeadline  = 500 * time.Millisecond // at speed 1; less where parts are at the gate sooner
	// killEvery is how long there is for a kill, the new start, and parts between.
	killEvery = 10 * time.Second
	// restartAfter is how long the agent stays away, as with a supervisor.
	restartAfter = 2 * time.Second
	// readyLimit is how long an agent may take from its start until the belt runs.
	readyLimit = time.Minute
	maxKills   = 100
)

// checkPLC says what doesn't go together with --plc.
func (o *demoOptions) checkPLC(changed func(flag string) bool) error {
	switch {
	case !o.plc && changed("kills"):
		return cli.Usage("--kills goes with --plc")
	case !o.plc:
		return nil
	case o.rollout != "":
		return cli.Usage("--plc and --rollout: one of them; --plc has no fleet that could roll out")
	case changed("outage"):
		return cli.Usage("--plc and --outage: one of them; --plc has no fleet whose network could be cut")
	case o.kills < 0 || o.kills > maxKills:
		return cli.Usage("--kills %d: 0 to %d are possible", o.kills, maxKills)
	case o.seconds > 0 && o.seconds < float64(o.kills)*killEvery.Seconds():
		return cli.Usage("--seconds %v: %d kills need %v", o.seconds, o.kills, time.Duration(o.kills)*killEvery)
	}
	return o.check()
}

// plcDemo is one run of demo --plc.
type plcDemo struct {
	options    *demoOptions
	out        io.Writer
	program    string // of the agent
	dir        string
	page, door string // the agent's addresses
	source     string // of the camera
	line       *plcLine
	agent      *process // nil while it is away
}

func (o *demoOptions) runPLC(cmd *cobra.Command) error {
	agent, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	dir, err := scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	belt, err := newConveyor(o.seed, o.speed)
	if err != nil {
		return err
	}
	d := &plcDemo{options: o, out: cmd.OutOrStdout(), program: agent, dir: dir}
	d.line = newLine(belt, &plcProgram{every: plcHeartbeat, patience: time.Duration(float64(150*time.Millisecond) / max(1, o.speed))}, d.say)
	sum, err := d.run(cmd.Context())
	if err != nil {
		return err
	}
	if o.json {
		err = json.NewEncoder(d.out).Encode(sum)
	} else {
		err = sum.print(d.out)
	}
	if sum.Uninspected > 0 {
		err = errors.Join(err, fmt.Errorf("%d parts passed uninspected", sum.Uninspected))
	}
	return err
}

func (d *plcDemo) say(format string, args ...any) {
	if !d.options.json {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}

func (d *plcDemo) data() string { return filepath.Join(d.dir, "data") }

// run starts everything, waits for the end, stops everything and compares.
func (d *plcDemo) run(ctx context.Context) (*plcSummary, error) {
	// The camera, the belt and the controller outlive the signal: what was triggered
	// wants its result.
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var g errgroup.Group
	err := d.film(lasting, &g)
	if err == nil {
		err = d.configure()
	}
	if err == nil {
		g.Go(func() error { d.line.run(lasting); return nil })
		g.Go(func() error { return d.line.talk(lasting, d.door) })
		err = d.play(ctx)
		d.line.end()
		for limit := time.Now().Add(openLimit); !d.line.settled() && time.Now().Before(limit); {
			time.Sleep(scanEvery)
		}
	}
	end()
	err = errors.Join(err, g.Wait(), d.agent.stop())
	if err != nil {
		return nil, err
	}
	return d.compare()
}

// film serves the camera until ctx ends.
func (d *plcDemo) film(ctx context.Context, g *errgroup.Group) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open the drawn camera's port: %w", err)
	}
	d.source = "http://" + l.Addr().String() + "/camera"
	cfg := d.line.belt.scene.Config()
	mjpeg, err := ipcam.NewMJPEG(ipcam.Drawing{Drawer: d.line.belt, Width: cfg.Width, Height: cfg.Height, Rate: d.rate()})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	mjpeg.Quality = 90
	server := &http.Server{Handler: mjpeg, ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	g.Go(func() error { return mjpeg.Run(ctx) })
	g.Go(func() error {
		defer context.AfterFunc(ctx, func() { _ = server.Close() })() // Serve's error tells
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}

// rate is the camera's: a faster belt wants more pictures a second.
func (d *plcDemo) rate() float64 { return 25 * max(1, d.options.speed) }

// configure finds ports and writes the agent's configuration.
func (d *plcDemo) configure() (err error) {
	if d.page, err = freeAddress(d.options.listen); err != nil {
		return err
	}
	if d.door, err = cable.FreeAddress("127.0.0.1"); err != nil {
		return err
	}
	deadline := min(plcDeadline, time.Duration(1.2/d.options.speed*float64(time.Second)))
	lines := []string{
		"listen: " + strconv.Quote(d.page),
		"data: " + strconv.Quote(d.data()),
		"stations:",
		"  - id: " + plcStation,
		"    line: drawn",
		"    mode: trigger",
		"    criticality: critical",
		fmt.Sprintf("    deadline: %dms", deadline.Milliseconds()),
		"    camera: {source: " + strconv.Quote(d.source) + "}",
		fmt.Sprintf("    trigger: {speed_mm_s: %.0f, period: %dms, tolerance_mm: 10}", beltPx(1000)*d.options.speed/pxPerMM, int(1000/d.rate())),
		"    model: drawn-parts",
		"plc:",
		fmt.Sprintf("  - {station: %s, protocol: modbus, listen: %q, peers: [127.0.0.1], heartbeat: %v}", plcStation, d.door, plcHeartbeat),
	}
	if err := os.WriteFile(d.file(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("configure the agent: %w", err)
	}
	return nil
}

func (d *plcDemo) file() string { return filepath.Join(d.dir, "station.yaml") }

// play lets the belt run for the demo's time, with the kills between.
func (d *plcDemo) play(ctx context.Context) error {
	d.say("one drawn belt: a part in the middle of the picture breaks a light barrier, and the controller triggers its inspection")
	d.say("the gate behind the camera is shut; the controller opens it for a part whose own result says PASS, and rejects all others")
	d.say("the agent's page: http://%s  its Modbus door: %s, heartbeat every %v", d.page, d.door, plcHeartbeat)
	d.say("Ctrl-C ends it and compares what passed the gate with the agent's records and with the truth")
	if err := d.begin(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	began := time.Now()
	for n, at := range d.killTimes() {
		if err := d.wait(ctx, max(0, time.Until(began.Add(at)))); err != nil || ctx.Err() != nil {
			return err
		}
		if err := d.strike(ctx, n%2 == 1); err != nil || ctx.Err() != nil {
			return err
		}
	}
	if d.options.seconds == 0 {
		return d.wait(ctx, -1)
	}
	return d.wait(ctx, max(0, time.Until(began.Add(time.Duration(d.options.seconds*float64(time.Second))))))
}

// strike kills the agent and starts it again: while an inspection is under way, or
// whatever is.
func (d *plcDemo) strike(ctx context.Context, busy bool) error {
	if err := d.untilRunning(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	what := ""
	if busy {
		what = ", while it inspects"
	}
	for busy && !d.line.inspecting() {
		if err := d.wait(ctx, lineEvery); err != nil || ctx.Err() != nil {
			return err
		}
	}
	if !d.line.strike(fmt.Sprintf("kill -9 of the agent (process %d)%s", d.agent.cmd.Process.Pid, what)) {
		return d.strike(ctx, busy) // it has stopped by itself meanwhile
	}
	if err := d.agent.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the agent: %w", err)
	}
	<-d.agent.done
	d.agent = nil
	if !sleep(ctx, restartAfter) {
		return nil
	}
	d.say("          the agent is started again, as a supervisor would")
	return d.begin(ctx)
}

// killTimes are after the first start: at random in equal shares of the middle.
func (d *plcDemo) killTimes() []time.Duration {
	r := rand.New(rand.NewPCG(d.options.seed, 9))
	all := time.Duration(d.options.seconds * float64(time.Second))
	from, share := all/5, 3*all/5/time.Duration(max(d.options.kills, 1))
	if all == 0 {
		from, share = 10*time.Second, 30*time.Second
	}
	var out []time.Duration
	for n := range d.options.kills {
		out = append(out, from+time.Duration((float64(n)+0.6*r.Float64())*float64(share)))
	}
	return out
}

// begin starts the agent and waits until the belt runs, or ctx ends.
func (d *plcDemo) begin(ctx context.Context) (err error) {
	if d.agent, err = begin("the agent", d.program, "run", "--config", d.file()); err != nil {
		return err
	}
	return d.untilRunning(ctx)
}

func (d *plcDemo) untilRunning(ctx context.Context) error {
	limit := time.Now().Add(readyLimit)
	for !d.line.running() {
		if time.Now().After(limit) {
			return fmt.Errorf("the agent isn't ready for the belt after %v: %s", readyLimit, cmp.Or(strings.TrimSpace(d.agent.stderr.String()), "it said nothing"))
		}
		if err := d.wait(ctx, scanEvery); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// wait waits so long, for ever if that is negative, or until ctx ends. An agent that
// ends by itself meanwhile is an error.
func (d *plcDemo) wait(ctx context.Context, length time.Duration) error {
	var over <-chan time.Time
	if length >= 0 {
		over = time.After(length)
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-d.agent.done:
		err := d.agent.failure()
		d.agent = nil
		return err
	}
	return nil
}

// sleep is false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
