package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/sync/wire/rest"
)

// wireCase is one size of batches.
type wireCase struct {
	id, goal string
	size     int // events in a batch
	batches  int // that are counted in a turn
}

// p5 measures what a device's results cost on the wire.
func p5() Figure {
	return Figure{
		ID:   "P5",
		What: "wire bytes an event with TLS, TCP and acknowledgements ÷ those of one QoS 1 message with its JSON object",
		Goal: "told",
		Run: func(ctx context.Context, env *Env) ([]Row, error) {
			return withRig(ctx, func(r *rig) (rows []Row, err error) {
				id, err := r.enroll(ctx, "device")
				if err != nil {
					return nil, err
				}
				for _, c := range []wireCase{{"P5/10", "<= 0.12", 10, 40}, {"P5/100", "<= 0.05", 100, 8}} {
					row, err := c.measure(ctx, env, r, id)
					if err != nil {
						return rows, err
					}
					rows = append(rows, row)
				}
				return rows, nil
			})
		},
	}
}

// measure sends the same events both ways: in turn n those of station n. Each
// message goes when the one before it is answered, so that answers carry most
// of TCP's acknowledgements; at a line's pace those would be segments of their
// own, of which single messages have more.
func (c wireCase) measure(ctx context.Context, env *Env, r *rig, id *identity.Identity) (Row, error) {
	var ours, bare uint64
	what := fmt.Sprintf("%d events a batch, device to fleet over TLS 1.3: bytes an event, TLS + 52 a TCP segment (MSS 1460), both ways, "+
		"connecting left out ÷ the same of one MQTT message an event, QoS 1, its JSON as in /v1/results", c.size)
	return env.Compare(ctx, Row{ID: c.id, What: what, Goal: c.goal},
		func(ctx context.Context) (Sample, error) { ours++; return c.batched(ctx, r, id, ours) },
		func(ctx context.Context) (Sample, error) { bare++; return c.single(ctx, r, id.Device(), bare) })
}

// batched sends over the real path: journal, uplink, broker, ingester, store,
// and the acknowledgement back. The first batch isn't counted.
func (c wireCase) batched(ctx context.Context, r *rig, id *identity.Identity, seed uint64) (s Sample, err error) {
	d, err := r.device(ctx, id)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	d.connect(ctx, c.size)
	m := newMade(seed)
	before, each := traffic{}, float64(0)
	for n := range c.batches + 1 {
		bodies, err := m.bodies(c.size)
		if err != nil {
			return s, err
		}
		last, err := d.append(bodies)
		if err != nil {
			return s, err
		}
		if err := d.acknowledged(ctx, last); err != nil {
			return s, err
		}
		now, err := r.meter.read()
		if err != nil {
			return s, err
		}
		if n == 0 {
			before = now
		}
		each = float64(now.since(before).wire())
	}
	if u := d.uplink.Stats(); u.Batches != uint64(c.batches)+1 || u.Connects != 1 {
		return s, fmt.Errorf("the link to the fleet was disturbed: %d batches over %d connections", u.Batches, u.Connects)
	}
	return Sample{Value: each / float64(c.batches*c.size)}, nil
}

// single sends each event as a message of its own, as a device without us
// would. Its certificate is a service's, because a device's lets it use no
// topic that nobody reads; the topic is as long as the device's own.
func (c wireCase) single(ctx context.Context, r *rig, device string, seed uint64) (s Sample, err error) {
	client, err := r.client(ctx, "bare")
	if err != nil {
		return s, err
	}
	defer client.Disconnect(100)
	m, topic := newMade(seed), wire.Topic(device, wire.Up, "js")
	if _, err := m.bodies(c.size); err != nil { // those of the batch that isn't counted
		return s, err
	}
	var before, now traffic
	events := c.batches * c.size
	for n := range events + 1 { // the first isn't counted either
		text, err := object(uint64(c.size+n), m.next())
		if err != nil {
			return s, err
		}
		if err := publish(ctx, client, topic, text); err != nil {
			return s, err
		}
		if now, err = r.meter.read(); err != nil {
			return s, err
		}
		if n == 0 {
			before = now
		}
	}
	return Sample{Value: float64(now.since(before).wire()) / float64(events)}, nil
}

// object is the result as GET /v1/results of the device has it.
func object(seq uint64, r *wire.Result) ([]byte, error) {
	out := rest.FromWire(seq, r)
	out.Picture = "/v1/parts/" + url.PathEscape(out.ID) + "/picture.jpg"
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(&out); err != nil {
		return nil, fmt.Errorf("a result as JSON: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// client is a plain MQTT client of the rig's broker, over the meter, with a
// certificate of its own.
func (r *rig) client(ctx context.Context, name string) (mqtt.Client, error) {
	return r.clientAt(ctx, name, r.meter.addr())
}

// clientAt is client at an address of the broker.
func (r *rig) clientAt(ctx context.Context, name, addr string) (mqtt.Client, error) {
	conf := r.ca.ClientTLS("bench", r.store.Now)
	conf.ServerName = "127.0.0.1"
	o := mqtt.NewClientOptions().AddBroker("ssl://" + addr).SetClientID("bench-" + name).SetTLSConfig(conf).
		SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetKeepAlive(time.Minute)
	client := mqtt.NewClient(o)
	if err := answered(ctx, client.Connect()); err != nil {
		return nil, fmt.Errorf("connect a plain client: %w", err)
	}
	return client, nil
}

// publish returns when the broker has the message.
func publish(ctx context.Context, client mqtt.Client, topic string, text []byte) error {
	if err := answered(ctx, client.Publish(topic, 1, false, text)); err != nil {
		return fmt.Errorf("publish a message: %w", err)
	}
	return nil
}

func answered(ctx context.Context, t mqtt.Token) error {
	ctx, cancel := context.WithTimeout(ctx, rigLimit)
	defer cancel()
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}
