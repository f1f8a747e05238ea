package uplink

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
)

// modelFleet follows the protocol from the fleet's side, in memory.
type modelFleet struct {
	t      testing.TB
	broker string
	client mqtt.Client

	mu       sync.Mutex
	epochs   map[uint64]*told
	hellos   []*wire.Hello
	states   []*wire.State
	lives    []*wire.Life
	batches  int
	gaps     int                  // batches that didn't follow
	repeated int                  // items that were there already
	silent   func(wire.Kind) bool // neither stores nor answers
	mute     bool                 // doesn't acknowledge batches
	refuse   *wire.Refusal        // instead of every answer
}

// told is what came of one epoch.
type told struct {
	watermark uint64
	items     []wire.Item
}

func newFleet(t testing.TB, broker string) *modelFleet {
	t.Helper()
	f := &modelFleet{t: t, broker: broker, epochs: map[uint64]*told{}}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *modelFleet) start() {
	f.t.Helper()
	up := make(chan error, 100)
	o := mqtt.NewClientOptions().AddBroker("tcp://" + f.broker).SetClientID("ingest").SetCleanSession(true).
		SetAutoReconnect(true).SetMaxReconnectInterval(200 * time.Millisecond).SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond)
	o.SetOnConnectHandler(func(c mqtt.Client) {
		filters := map[string]byte{}
		for _, k := range wire.UpKinds {
			filters[wire.AllUp(k)] = 1
		}
		token := c.SubscribeMultiple(filters, func(_ mqtt.Client, m mqtt.Message) { f.heard(c, m) })
		token.Wait()
		up <- token.Error()
	})
	f.client = mqtt.NewClient(o)
	f.client.Connect()
	select {
	case err := <-up:
		if err != nil {
			f.t.Fatal(err)
		}
	case <-time.After(patient):
		f.t.Fatal("the model fleet finds no broker")
	}
}

func (f *modelFleet) stop() { f.client.Disconnect(100) }

func (f *modelFleet) heard(c mqtt.Client, m mqtt.Message) {
	_, _, kind, err := wire.ParseTopic(m.Topic())
	if err != nil {
		f.t.Error(err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	silent := f.silent != nil && f.silent(kind)
	var ack *wire.Ack
	switch kind {
	case wire.KindHello:
		h := new(wire.Hello)
		f.must(wire.Unmarshal(m.Payload(), h))
		f.hellos = append(f.hellos, h)
		ack = &wire.Ack{Epoch: h.GetEpoch(), Watermark: f.epoch(h.GetEpoch()).watermark, Connection: h.GetConnection()}
	case wire.KindEvents:
		b, err := wire.DecodeBatch(m.Payload())
		if err != nil {
			f.t.Error(err)
			return
		}
		f.batches++
		if f.refuse == nil && !silent {
			f.store(b)
		}
		if f.mute {
			return
		}
		ack = &wire.Ack{Epoch: b.Epoch, Watermark: f.epoch(b.Epoch).watermark}
	case wire.KindState:
		s := new(wire.State)
		f.must(wire.Unmarshal(m.Payload(), s))
		f.states = append(f.states, s)
		return
	case wire.KindLife:
		l := new(wire.Life)
		f.must(wire.Unmarshal(m.Payload(), l))
		f.lives = append(f.lives, l)
		return
	}
	if silent {
		return
	}
	if f.refuse != nil {
		f.say(c, wire.KindError, f.refuse)
		return
	}
	f.say(c, wire.KindAck, ack)
}

// store is what the fleet's transaction does.
func (f *modelFleet) store(b *wire.Batch) {
	e := f.epoch(b.Epoch)
	if b.First() > e.watermark+1 {
		f.gaps++
		return
	}
	for _, it := range b.Items {
		if it.Last <= e.watermark {
			f.repeated++
			continue
		}
		it.First = max(it.First, e.watermark+1)
		e.items = append(e.items, it)
		e.watermark = it.Last
	}
}

func (f *modelFleet) epoch(e uint64) *told {
	if f.epochs[e] == nil {
		f.epochs[e] = &told{}
	}
	return f.epochs[e]
}

func (f *modelFleet) must(err error) {
	if err != nil {
		f.t.Error(err)
	}
}

// say answers without waiting, because it is called from the client.
func (f *modelFleet) say(c mqtt.Client, kind wire.Kind, m proto.Message) {
	b, err := wire.Marshal(m)
	f.must(err)
	go c.Publish(wire.Topic(device, wire.Down, kind), 0, false, b)
}

// with runs with the fleet held.
func (f *modelFleet) with(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *modelFleet) watermark(epoch uint64) (w uint64) {
	f.with(func() { w = f.epoch(epoch).watermark })
	return w
}

// setBack takes from the fleet what is above the watermark, as a backup does.
func (f *modelFleet) setBack(epoch, watermark uint64) {
	f.with(func() {
		e := f.epoch(epoch)
		e.watermark = watermark
		e.items = slices.DeleteFunc(e.items, func(it wire.Item) bool { return it.First > watermark })
	})
}

// has checks that the fleet has the journal's records, all, once, in order.
func (f *modelFleet) has(j *journal.Journal) {
	f.t.Helper()
	want := j.Stats().Last
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.epoch(j.Epoch())
	if e.watermark != want {
		f.t.Fatalf("the fleet is at %d, the journal at %d", e.watermark, want)
	}
	next := uint64(1)
	for _, it := range e.items {
		if it.First != next {
			f.t.Fatalf("item %d to %d, expected from %d", it.First, it.Last, next)
		}
		if it.First == it.Last && !bytes.Equal(it.Body, record(f.t, it.First)) {
			f.t.Fatalf("record %d differs", it.First)
		}
		next = it.Last + 1
	}
	if next != want+1 {
		f.t.Fatalf("the fleet has items up to %d, the journal %d", next-1, want)
	}
}

func (t *told) String() string { return fmt.Sprintf("%d items up to %d", len(t.items), t.watermark) }
