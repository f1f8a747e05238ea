package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/scene"
)

const (
	// settle is how long after the last part that counts the cameras go on, so
	// that the agents see it leave and decide it.
	settle = 2500 * time.Millisecond
	// decided is how long after its camera's end an agent has decided what was
	// still in view.
	decided = 4 * time.Second
	// drainLimit is how long the last records may take to the fleet.
	drainLimit = time.Minute
	// firstOutage is when the network is cut in a demo without an end.
	firstOutage = 20 * time.Second
)

// demoDefects is the share of bad parts: more than a line has, so that a short
// look shows some.
const demoDefects = 0.2

// demoDevices is how many devices there are, each with a belt of its own.
const demoDevices = 2

// seedApart makes the second belt's parts others than the first one's.
const seedApart = 1000

// demoOptions are the flags of demo.
type demoOptions struct {
	seconds float64
	seed    uint64
	speed   float64
	outage  time.Duration
	json    bool
	listen  string
	agent   string
	rollout string
	plc     bool
	kills   int
	oip     bool

	attempts []attempt // that rollout names
}

func newDemo() *cobra.Command {
	o := demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "inspect drawn parts on two belts and see the results at a fleet, in the browser",
		Long: `demo draws parts on two belts, some of them bad, each seen by an IP camera; starts
a fleet service and two agents with the shipped model, in a scratch directory;
enrols the agents with real tokens; and prints the addresses of the pages. In the
middle it cuts the network between agents and fleet for a while: inspection goes
on, the fleet shows the devices as stale, and what was decided meanwhile comes
when the network is back.

With --rollout it brings signed bundles to the devices in place of the outage, as
docs/how-updates-work.md tells: a good one, which both devices prove that they run;
one that is tampered with on the fleet's disk, refused; a wrong model, refused by
the gate; and one that is too slow, rolled back. Inspection goes on meanwhile. It
ends by itself when all are through, and with exit code 1 if one of them didn't end
so, or they took more than three minutes.

With --plc there is one belt, one agent and no fleet: the demo plays the line's
controller on the agent's Modbus door, the light barrier that triggers, and the
reject gate behind the camera. It kills the agent with kill -9 on the way, starts it
again, and counts what passed the gate: exit code 1 if a part did without a PASS of
its own in the agent's records.

With --oip there is no camera: the demo starts sightline-agent serve with the shipped
model, sends it drawn pictures over the Open Inference Protocol as any program could,
and prints the boxes that come back.

At Ctrl-C, or after --seconds, the belts stop, the last results go to the fleet,
and all is compared: verdicts with the truth, over the parts that entered and left
the picture meanwhile, and the fleet's results with the devices'. Defects too faint
to be counted on (under the visibility floor of docs/scene.md) are told apart.

The agents know nothing of the drawing: each sees an MJPEG camera.`,
		Example: `  sightline demo
  sightline demo --seconds 60 --seed 7 --json
  sightline demo --rollout
  sightline demo --plc --seconds 60 --kills 2
  sightline demo --oip`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(o.checkOIP(cmd.Flags().Changed), o.checkPLC(cmd.Flags().Changed)); err != nil {
				return err
			}
			if o.oip {
				return o.runOIP(cmd)
			}
			if o.plc {
				return o.runPLC(cmd)
			}
			if o.rollout != "" && !cmd.Flags().Changed("outage") {
				o.outage = 0
			}
			return o.run(cmd)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&o.seconds, "seconds", 0, "end after so many seconds; 0: at Ctrl-C; with --rollout not before all are through")
	f.Uint64Var(&o.seed, "seed", 6, "which parts are drawn")
	f.Float64Var(&o.speed, "speed", 1, "times real time, 0.1 to 4")
	f.DurationVar(&o.outage, "outage", 20*time.Second, "how long the network is cut in the middle, at most two thirds of --seconds; 0: not at all")
	f.BoolVar(&o.json, "json", false, "print the summary as one JSON object on the last line")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address of the fleet's page; the agents take the next ports; a port in use gives way to a free one")
	f.StringVar(&o.rollout, "rollout", "", "roll bundles out: all, or some of good, tampered, wrong, slow, as in --rollout=good,slow")
	f.Lookup("rollout").NoOptDefVal = "all"
	f.BoolVar(&o.plc, "plc", false, "play the line's controller and its reject gate, and kill the agent on the way")
	f.IntVar(&o.kills, "kills", 1, "with --plc: how often the agent is killed")
	f.BoolVar(&o.oip, "oip", false, "serve the shipped model over the Open Inference Protocol, and ask it")
	f.StringVar(&o.agent, "agent", "", "the sightline-agent to start, beside which sightline-fleet lies; empty: the one beside this program, else of PATH")
	return cmd
}

func (o *demoOptions) check() error {
	switch {
	case o.seconds < 0:
		return cli.Usage("--seconds %v: must not be negative", o.seconds)
	case !(o.speed >= 0.1 && o.speed <= 4):
		return cli.Usage("--speed %v: 0.1 to 4 are possible", o.speed)
	case o.outage < 0:
		return cli.Usage("--outage %v: must not be negative", o.outage)
	}
	if _, _, err := net.SplitHostPort(o.listen); err != nil {
		return cli.Usage("--listen %q: must be an address and a port, as 127.0.0.1:8080", o.listen)
	}
	if o.rollout == "" {
		return nil
	}
	var err error
	o.attempts, err = chooseAttempts(o.rollout)
	return err
}

func (o *demoOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	agent, err := findAgent(o.agent)
	if err != nil {
		return err
	}
	service, err := findFleet(agent)
	if err != nil {
		return err
	}
	dir, err := scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demonstration{options: o, out: cmd.OutOrStdout(), agent: agent, dir: dir}
	if d.fleet, err = newDemoFleet(service, filepath.Join(dir, "fleet")); err != nil {
		return err
	}
	if len(o.attempts) > 0 {
		p, err := newPublisher(agent, filepath.Join(dir, "publisher"), d.fleet)
		if err != nil {
			return err
		}
		d.campaign = &campaign{demo: d, publisher: p, attempts: o.attempts, proven: map[string]string{}}
		if o.outage == 0 { // else lines come in between
			d.campaign.screen = onTerminal(d.out)
		}
	}
	for n := range demoDevices {
		s, err := scene.New(scene.Config{Seed: o.seed + seedApart*uint64(n), DefectRate: demoDefects})
		if err != nil {
			return err
		}
		d.belts = append(d.belts, &belt{number: n + 1, dir: filepath.Join(dir, fmt.Sprintf("device%d", n+1)), play: &played{scene: s}})
	}
	sum, err := d.run(cmd.Context())
	if err != nil {
		return err
	}
	if o.json {
		err = json.NewEncoder(d.out).Encode(sum)
	} else {
		err = sum.print(d.out)
	}
	if d.campaign != nil && cmd.Context().Err() == nil {
		err = errors.Join(err, d.campaign.missing())
	}
	return err
}

// scratch is a folder for the demo alone, by its full path.
func scratch() (string, error) {
	dir, err := os.MkdirTemp("", "sightline-demo-")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", fmt.Errorf("make a scratch directory: %w: set TMPDIR to a folder with room", err)
	}
	return dir, nil
}

// demonstration is one run of demo.
type demonstration struct {
	options *demoOptions
	out     io.Writer
	agent   string // program
	dir     string
	fleet   *demoFleet
	belts   []*belt
	network outage
	results []fleetResult // what the fleet has at the end

	campaign *campaign // nil without --rollout
}

// run starts everything, waits for the end, stops everything and compares.
func (d *demonstration) run(ctx context.Context) (*demoSummary, error) {
	// Cameras and cables outlive the signal: the last parts want to be seen and sent.
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	filmed, cut := context.WithCancel(lasting)
	defer cut()
	var g errgroup.Group
	g.Go(func() error { return d.fleet.cables(lasting) })
	err := d.start(ctx, filmed, &g)
	if err == nil {
		err = d.watch(ctx)
	}
	var sum *demoSummary
	if err == nil {
		sum, err = d.finish(lasting, cut)
	}
	cut()
	err = errors.Join(err, d.stop())
	end()
	if err = errors.Join(err, g.Wait()); err != nil {
		return nil, err
	}
	return sum, d.compare(sum)
}

// start brings up the fleet, the cameras and the agents, and enrols those.
func (d *demonstration) start(ctx, filmed context.Context, g *errgroup.Group) error {
	if err := d.fleet.start(ctx, d.options.listen); err != nil {
		return err
	}
	bundle := ""
	if d.campaign != nil { // devices pin the root when they enrol
		if err := d.campaign.prepare(); err != nil {
			return err
		}
		bundle = demoBundle
	}
	for n, b := range d.belts {
		if err := b.film(filmed, g, d.options.speed); err != nil {
			return err
		}
		if err := b.start(d.agent, nextAddress(d.options.listen, n+1), bundle); err != nil {
			return err
		}
	}
	for _, b := range d.belts {
		if err := d.fleet.enroll(d.agent, b); err != nil {
			return err
		}
	}
	d.say("the fleet's page: http://%s  user %s, password %s", d.fleet.address, d.fleet.user, d.fleet.password)
	for _, b := range d.belts {
		d.say("device %d inspects drawn parts: http://%s", b.number, b.listen)
	}
	if d.campaign != nil {
		d.say("at the fleet they are %s and %s", d.belts[0].device, d.belts[1].device)
	}
	d.say("Ctrl-C ends it and compares the verdicts with the truth, and the fleet with the devices")
	return nil
}

func (d *demonstration) say(format string, args ...any) {
	if !d.options.json {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}

// watch waits for the end of the demo's time, or Ctrl-C, with the outage
// between. A program that ends by itself is an error.
func (d *demonstration) watch(ctx context.Context) error {
	var over <-chan time.Time
	start, length := firstOutage, d.options.outage
	if d.options.seconds > 0 {
		all := time.Duration(d.options.seconds * float64(time.Second))
		over = time.After(all)
		length = min(length, 2*all/3)
		start = (all - length) / 2
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	defer g.Wait() // gives no error
	if d.campaign != nil {
		over = d.rollOut(ctx, &g, over)
	}
	if length > 0 {
		g.Go(func() error {
			d.cutNetwork(ctx, start, length)
			return nil
		})
	}
	defer stop()
	select {
	case <-ctx.Done():
	case <-over:
	case <-d.fleet.process.done:
		return d.fleet.process.failure()
	case <-d.belts[0].agent.done:
		return d.belts[0].agent.failure()
	case <-d.belts[1].agent.done:
		return d.belts[1].agent.failure()
	}
	return nil
}

// finish stops the belts, lets what was on them be decided, and waits until
// the fleet has it all.
func (d *demonstration) finish(ctx context.Context, cut func()) (*demoSummary, error) {
	d.say("the belts stop, the last results go to the fleet")
	for _, b := range d.belts {
		b.play.end()
	}
	time.Sleep(settle)
	cut()
	time.Sleep(decided)
	sum := &demoSummary{Devices: len(d.belts), Pictures: "drawn", Outage: d.network.length().Seconds(), Stale: len(d.network.stale)}
	if d.campaign != nil {
		sum.Rollouts = d.campaign.results
	}
	began := time.Now()
	for _, b := range d.belts {
		if err := b.drained(ctx, drainLimit-time.Since(began)); err != nil {
			return nil, err
		}
	}
	if o := &d.network; o.drained == 0 && !o.to.IsZero() { // the end came before
		o.drained = time.Since(o.to)
	}
	sum.Drain = d.network.drained.Seconds()
	var err error
	d.results, err = d.fleet.results(ctx)
	return sum, err
}

// stop ends all programs: agents first.
func (d *demonstration) stop() error {
	var errs []error
	for _, b := range d.belts {
		errs = append(errs, b.agent.stop())
	}
	return errors.Join(append(errs, d.fleet.process.stop())...)
}

// compare holds the devices' results against the truth and the fleet's.
func (d *demonstration) compare(sum *demoSummary) error {
	for _, b := range d.belts {
		results, err := readResults(b.data())
		if err != nil {
			return err
		}
		sum.add(b.play, results)
		sum.hold(b.device, results, d.results)
		sum.credit(results)
	}
	sum.finish()
	return nil
}
