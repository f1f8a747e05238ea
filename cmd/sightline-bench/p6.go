package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/wire"
)

// liveGap is the time between the parts of a device.
const liveGap = 20 * time.Millisecond

// p6 measures how long a new result is on its way to those who look on.
func p6() Figure {
	return Figure{
		ID:   "P6",
		What: "a new result, from the device's journal to a reader of the fleet's events, p99 ms",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return withRig(ctx, func(r *rig) ([]Row, error) {
				l := &live{rig: r, backlog: 100_000, parts: 120}
				if err := l.open(ctx); err != nil {
					return nil, err
				}
				return l.measure(ctx, env)
			})
		},
	}
}

// live is two devices, of which one was away for long, and who looks on.
type live struct {
	*rig
	backlog     int    // records
	parts       int    // in a turn without a backlog
	token       string // of the fleet's interface
	away, other *identity.Identity
	draining    []float64 // seconds that the backlogs took
	seed        uint64
}

func (l *live) open(ctx context.Context) (err error) {
	if l.away, err = l.enroll(ctx, "away"); err != nil {
		return err
	}
	if l.other, err = l.enroll(ctx, "other"); err != nil {
		return err
	}
	l.token = auth.NewSecret(auth.TokenPrefix)
	return l.store.AddAPIToken(ctx, store.APIToken{
		Key: auth.KeyOf(l.token), Name: "bench", User: fleet.FirstUser, Role: auth.Viewer, Expires: l.store.Now().Add(time.Hour),
	})
}

func (l *live) measure(ctx context.Context, env *Env) (rows []Row, err error) {
	idle, err := env.Compare(ctx, Row{ID: "P6/live-idle", Goal: "told", What: "nothing else to send: p99 ms, uplink's linger of 100 ms and two commits to disk " +
		"included ÷ p99 ms of its JSON as an MQTT message from client to client over the same broker"}, l.idle, l.message)
	if err != nil {
		return nil, err
	}
	var others, idles []Sample
	behind, err := env.Compare(ctx, Row{ID: "P6/live-backlog", Goal: "told"},
		func(ctx context.Context) (Sample, error) {
			own, other, err := l.drain(ctx)
			others = append(others, other)
			return own, err
		},
		func(ctx context.Context) (Sample, error) {
			s, err := l.idle(ctx)
			idles = append(idles, s)
			return s, err
		})
	if err != nil {
		return nil, err
	}
	took := quantile(l.draining, 0.5)
	behind.What = fmt.Sprintf("behind the device's own backlog of 100,000, which it never overtakes: p99 ms ÷ without a backlog; "+
		"the backlog took %.1f s, %.0f results/s", took, float64(l.backlog)/took)
	beside, err := env.Compare(ctx, Row{ID: "P6/live-other", Goal: "told",
		What: "while another device's backlog of 100,000 drains, in the same turns: p99 ms ÷ without a backlog"}, again(others), again(idles))
	return []Row{idle, beside, behind}, err
}

// again gives samples that were taken, one a turn.
func again(taken []Sample) Turn {
	return func(context.Context) (Sample, error) {
		s := taken[0]
		taken = taken[1:]
		return s, nil
	}
}

// p99 is a sample of latencies.
func p99(ms []float64) Sample { return Sample{Value: quantile(ms, 0.99), Each: ms} }

// message is the bare way: a message to a subscriber over the same broker.
func (l *live) message(ctx context.Context) (s Sample, err error) {
	from, err := l.client(ctx, "from")
	if err != nil {
		return s, err
	}
	defer from.Disconnect(100)
	to, err := l.client(ctx, "to")
	if err != nil {
		return s, err
	}
	defer to.Disconnect(100)
	topic, came := wire.Topic(l.other.Device(), wire.Up, "js"), make(chan time.Time, l.parts)
	if err := answered(ctx, to.Subscribe(topic, 0, func(mqtt.Client, mqtt.Message) { came <- time.Now() })); err != nil {
		return s, fmt.Errorf("subscribe: %w", err)
	}
	var ms []float64
	m := l.made()
	tick := time.NewTicker(liveGap)
	defer tick.Stop()
	for n := range l.parts {
		text, err := object(uint64(n+1), m.next())
		if err != nil {
			return s, err
		}
		<-tick.C
		began := time.Now()
		if err := publish(ctx, from, topic, text); err != nil {
			return s, err
		}
		select {
		case at := <-came:
			ms = append(ms, milliseconds(at.Sub(began)))
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(rigLimit):
			return s, errors.New("a message was lost")
		}
	}
	return p99(ms), nil
}

// made is a station of its own for each turn.
func (l *live) made() *made {
	l.seed++
	return newMade(l.seed)
}

// looked is a device with somebody who looks on.
type looked struct {
	*device
	reader *reader
	look   tasks
	parts  *made
	born   []seen
}

func (l *live) look(ctx context.Context, id *identity.Identity) (*looked, error) {
	d, err := l.device(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &reader{
		url: "http://" + l.fleet.HTTPAddr() + "/v1/events?device=" + url.QueryEscape(id.Device()), token: l.token,
		epoch: fmt.Appendf(nil, `"epoch":"%016x"`, d.journal.Epoch()),
	}
	out := &looked{device: d, reader: r, look: startTasks(ctx, r.run), parts: l.made()}
	if err := await(ctx, r.listens); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the fleet's events: %w", err), out.close())
	}
	return out, nil
}

func (d *looked) close() error { return errors.Join(d.look.end(), d.device.close()) }

// inspect makes a part every liveGap until enough says so.
func (d *looked) inspect(ctx context.Context, enough func() bool) error {
	tick := time.NewTicker(liveGap)
	defer tick.Stop()
	for !enough() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		body, err := d.parts.bodies(1)
		if err != nil {
			return err
		}
		at := time.Now()
		seq, err := d.append(body)
		if err != nil {
			return err
		}
		d.born = append(d.born, seen{seq, at})
	}
	return nil
}

// shown waits until everything was, and gives the latencies.
func (d *looked) shown(ctx context.Context) (Sample, error) {
	last := d.born[len(d.born)-1].seq
	if err := await(ctx, func() bool { return d.reader.newest() >= last }); err != nil {
		return Sample{}, fmt.Errorf("wait for result %d at the fleet's reader: %w", last, err)
	}
	return p99(d.reader.latencies(d.born)), nil
}

// connected has the uplink connected and greeted.
func (d *looked) connected(ctx context.Context) error {
	d.connect(ctx, 0)
	if err := await(ctx, func() bool { return d.uplink.Stats().Located }); err != nil {
		return fmt.Errorf("wait for the fleet: %w: %+v", err, d.uplink.Stats())
	}
	return nil
}

func (l *live) idle(ctx context.Context) (s Sample, err error) {
	d, err := l.look(ctx, l.other)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.connected(ctx); err != nil {
		return s, err
	}
	if err := d.inspect(ctx, func() bool { return len(d.born) == l.parts }); err != nil {
		return s, err
	}
	return d.shown(ctx)
}

// drain lets a device come back with a backlog. Until the fleet has it, both
// devices go on inspecting.
func (l *live) drain(ctx context.Context) (own, other Sample, err error) {
	a, err := l.look(ctx, l.away)
	if err != nil {
		return own, other, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	bodies, err := a.parts.bodies(l.backlog)
	if err != nil {
		return own, other, err
	}
	last, err := a.append(bodies)
	if err != nil {
		return own, other, err
	}
	b, err := l.look(ctx, l.other)
	if err != nil {
		return own, other, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.connected(ctx); err != nil {
		return own, other, err
	}
	began := time.Now()
	a.connect(ctx, 0)
	drained := func() bool { return a.uplink.Stats().Watermark >= last }
	both := startTasks(ctx,
		func(ctx context.Context) error { return a.inspect(ctx, drained) },
		func(ctx context.Context) error { return b.inspect(ctx, drained) })
	err = both.group.Wait()
	l.draining = append(l.draining, time.Since(began).Seconds())
	if err = errors.Join(err, both.end()); err != nil {
		return own, other, err
	}
	if own, err = a.shown(ctx); err != nil {
		return own, other, err
	}
	other, err = b.shown(ctx)
	return own, other, err
}
