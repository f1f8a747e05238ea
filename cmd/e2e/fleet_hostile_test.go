package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/identity"
	"github.com/sightline-edge/sightline/sync/wire"
)

// intruder is an MQTT client with an enrolled device's real certificate, which
// says what it likes.
type intruder struct {
	t      testing.TB
	id     string
	secret *tls.Config // with its certificate
	client mqtt.Client

	mu       sync.Mutex // protects what follows
	heard    map[string]int
	acked    map[uint64]uint64 // by epoch
	connects int
}

func newIntruder(t testing.TB, c *central, name string) *intruder {
	t.Helper()
	data := filepath.Join(t.TempDir(), name)
	c.enrol(data)
	id, err := identity.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	i := &intruder{t: t, id: id.Device(), secret: id.TLS(), heard: map[string]int{}, acked: map[uint64]uint64{}}
	i.client, err = connectAs(c, i.id, i.secret, i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.client.Disconnect(0) })
	return i
}

// connectAs connects to the fleet's broker under that name.
func connectAs(c *central, name string, conf *tls.Config, i *intruder) (mqtt.Client, error) {
	o := mqtt.NewClientOptions().AddBroker("ssl://" + c.mqtt.Addr()).SetClientID(name).SetTLSConfig(conf).SetProtocolVersion(4).
		SetConnectTimeout(patience).SetWriteTimeout(5 * time.Second).SetMaxReconnectInterval(100 * time.Millisecond).
		SetOrderMatters(false).SetDefaultPublishHandler(i.hear).SetOnConnectHandler(i.connected)
	client := mqtt.NewClient(o)
	token := client.Connect()
	if !token.WaitTimeout(patience) {
		return nil, errors.New("no answer to CONNECT")
	}
	return client, token.Error()
}

func (i *intruder) hear(_ mqtt.Client, m mqtt.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.heard[m.Topic()]++
	a := new(wire.Ack)
	if wire.Unmarshal(m.Payload(), a) == nil && strings.HasSuffix(m.Topic(), "/ack") {
		i.acked[a.GetEpoch()] = max(i.acked[a.GetEpoch()], a.GetWatermark())
	}
}

func (i *intruder) connected(mqtt.Client) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.connects++
}

// watermark is what the fleet said to this device of the epoch.
func (i *intruder) watermark(epoch uint64) uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.acked[epoch]
}

// say publishes; nobody knows whether it arrives.
func (i *intruder) say(topic string, qos byte, payload []byte) {
	i.client.Publish(topic, qos, false, payload).WaitTimeout(time.Second)
}

// own is its topic of a kind.
func (i *intruder) own(kind wire.Kind) string { return wire.Topic(i.id, wire.Up, kind) }

// listen subscribes, granted or not.
func (i *intruder) listen(filters ...string) {
	for _, f := range filters {
		i.client.Subscribe(f, 0, nil).WaitTimeout(time.Second)
		eventually(i.t, "its connection", i.client.IsConnectionOpen) // it may have been cut for that
	}
}

// overheard are topics that it heard and that aren't its own.
func (i *intruder) overheard() (topics []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for topic := range i.heard {
		if !strings.HasPrefix(topic, "sightline/v1/"+wire.Shard(i.id)+"/"+i.id+"/down/") {
			topics = append(topics, topic)
		}
	}
	return topics
}

// TestHostileDevice: a device with a real certificate sends batches cut,
// swapped, again and made up, speaks for others, listens to them and floods
// the broker. What it stores is at most its own; the honest device beside it
// isn't held up and hears of nothing.
func TestHostileDevice(t *testing.T) {
	for _, b := range []struct {
		name    string
		outside bool
	}{{"embedded", false}, {"Mosquitto", true}} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			c := newCentral(t, b.outside)
			honest := newDevice(t, c, "honest")
			honest.start()
			honest.until("its connection", func(now told) bool { return now.Located })
			i := newIntruder(t, c, "intruder")
			victim := func(way wire.Way, kind wire.Kind) string { return wire.Topic(honest.id, way, kind) }
			i.listen("#", "sightline/#", "sightline/v1/+/+/down/ack", victim(wire.Down, wire.KindAck), victim(wire.Up, wire.KindEvents),
				"$SYS/#", "$share/x/sightline/v1/+/+/up/ev")
			i.client.Subscribe(wire.Topic(i.id, wire.Down, wire.KindAck), 0, nil).WaitTimeout(patience)

			truth := recipe{Name: "intruder"}
			const epoch = 77
			last := i.jumble(truth, epoch)
			if topics := i.overheard(); len(topics) > 0 || i.connects > 1 {
				t.Errorf("with %d connections it heard what is not for it: %v", i.connects, topics)
			}
			epochs := i.lie(c, honest.now().Epoch, victim)
			i.flood(honest, truth, epoch)

			all := c.has(i.id)
			all[epoch].audit(t, truth, 1, last)
			for e, h := range all {
				if e != epoch && !slices.Contains(epochs, e) {
					t.Errorf("an epoch %d came about, with %d results up to %d", e, len(h.rows), h.watermark)
				}
				if e != epoch && len(h.rows) > 0 {
					t.Errorf("epoch %d has results", e)
				}
			}
			if topics := i.overheard(); len(topics) > 0 {
				t.Errorf("it heard what is not for it: %v", topics)
			}
			now := honest.stop()
			honest.audit(c, now)
			if n := len(c.has(honest.id)); n != 1 || now.Connects != 1 || now.NewEpochs != 0 {
				t.Errorf("the honest device has %d epochs and %d connections", n, now.Connects)
			}
		})
	}
}

// jumble sends good batches again and again in any order, cut and changed ones
// between them, until the fleet has all that is good. It gives the last number.
func (i *intruder) jumble(r recipe, epoch uint64) (last uint64) {
	i.t.Helper()
	n := 30
	if full() {
		n = 300
	}
	var good [][]byte
	var ends []uint64 // of each
	for range n {
		count := 1 + rand.Uint64N(20)
		good = append(good, batch(i.t, r, epoch, last+1, count))
		last += count
		ends = append(ends, last)
	}
	rounds := 0
	for ; i.watermark(epoch) < last; rounds++ {
		if rounds > 50*n {
			i.t.Fatalf("the fleet is at %d of %d after %d rounds", i.watermark(epoch), last, rounds)
		}
		// Any of those around the one that is missing.
		missing, _ := slices.BinarySearch(ends, i.watermark(epoch)+1)
		for range 20 {
			g := good[min(n-1, max(missing, 5)-5+rand.IntN(12))]
			i.say(i.own(wire.KindEvents), byte(rand.IntN(2)), g)
			i.say(i.own(wire.KindEvents), 0, spoil(g))
		}
	}
	return last
}

// spoil makes of a good batch one that nobody can take for one.
func spoil(good []byte) []byte {
	b := bytes.Clone(good)
	switch rand.IntN(6) {
	case 0:
		return b[:rand.IntN(len(b))]
	case 1:
		b[0] = 2 + byte(rand.IntN(250)) // an encoding
	case 2:
		b[17], b[18] = byte(rand.IntN(256)), 3+byte(rand.IntN(250)) // more items than a batch may have
	case 3:
		clear(b[9:17]) // from record 0
	case 4:
		for n := 19; n < len(b); n++ {
			b[n] = byte(rand.IntN(256))
		}
	case 5:
		return nil
	}
	return b
}

// lie says what can't be true. It gives the epochs that come about, in which
// nothing may be but its own holes.
func (i *intruder) lie(c *central, honestEpoch uint64, victim func(wire.Way, wire.Kind) string) (epochs []uint64) {
	i.t.Helper()
	events := i.own(wire.KindEvents)
	// A hole up to the end of all numbers, and records there.
	hole, err := wire.NewHole(&wire.Hole{First: 1, Last: 1 << 61, Pass: math.MaxUint64, Fail: math.MaxUint64, Reason: "because"})
	if err != nil {
		i.t.Fatal(err)
	}
	whole, err := wire.EncodeBatch(&wire.Batch{Epoch: 78, Items: []wire.Item{hole}})
	if err != nil {
		i.t.Fatal(err)
	}
	i.say(events, 1, whole)
	made := recipe{Name: "lies"}
	i.say(events, 1, batch(i.t, made, 79, math.MaxUint64-9, 5))
	i.say(events, 1, batch(i.t, made, 80, 1<<62, 5))
	i.say(events, 1, batch(i.t, made, honestEpoch, 1000, 5)) // a gap in an epoch that only another device has
	i.say(events, 1, bytes.Repeat([]byte{0xff}, 1<<20))
	i.say(events, 0, bytes.Repeat([]byte{0}, 20<<20)) // cut for that
	eventually(i.t, "its connection", i.client.IsConnectionOpen)
	for _, kind := range []wire.Kind{wire.KindHello, wire.KindLife, wire.KindState} {
		i.say(i.own(kind), 1, bytes.Repeat([]byte{0xff}, 300))
	}
	// In the other device's name, and in the fleet's.
	for _, topic := range []string{
		victim(wire.Up, wire.KindEvents), victim(wire.Up, wire.KindLife), victim(wire.Down, wire.KindAck), victim(wire.Down, wire.KindError),
		strings.Replace(events, wire.Shard(i.id), "zz", 1), "sightline/v1/" + wire.Shard(i.id) + "/" + i.id + "/up/ev/more",
	} {
		eventually(i.t, "its connection", i.client.IsConnectionOpen)
		ack, err := wire.Marshal(&wire.Ack{Epoch: honestEpoch, Watermark: 1 << 40})
		if err != nil {
			i.t.Fatal(err)
		}
		i.say(topic, 1, ack)
		i.say(topic, 1, batch(i.t, made, honestEpoch, 1, 5))
	}
	return []uint64{78}
}

// flood says as much as it can for a while, and measures how long the honest
// device waits.
func (i *intruder) flood(honest *device, r recipe, epoch uint64) {
	i.t.Helper()
	length := 2 * time.Second
	if full() {
		length = time.Minute
	}
	over := make(chan struct{})
	var flooders sync.WaitGroup
	hello, err := wire.Marshal(&wire.Hello{Protocol: wire.Protocol, Connection: 1, Epoch: epoch, First: 1, Last: 1 << 40})
	if err != nil {
		i.t.Fatal(err)
	}
	b := batch(i.t, r, epoch, 1, 20)
	far := batch(i.t, r, epoch, 1<<40+1, 20)
	said := make([]int, 3)
	for n := range said {
		flooders.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				i.client.Publish(i.own(wire.KindHello), 0, false, hello)
				i.client.Publish(i.own(wire.KindEvents), 1, false, b).WaitTimeout(time.Second)
				i.client.Publish(i.own(wire.KindEvents), 0, false, far)
				said[n] += 3
			}
		})
	}
	first, since := honest.now(), time.Now()
	acked, longest := first.Acked, time.Duration(0)
	for began := time.Now(); time.Since(began) < length; {
		now := honest.until("progress of the honest device", func(now told) bool { return now.Acked > acked })
		longest = max(longest, time.Since(since))
		acked, since = now.Acked, time.Now()
	}
	close(over)
	flooders.Wait()
	total := 0
	for _, n := range said {
		total += n
	}
	i.t.Logf("%d messages in %v; the honest device brought %d records and waited for %v at most", total, length, acked-first.Acked, longest.Round(time.Millisecond))
	if longest > 10*time.Second {
		i.t.Errorf("the honest device waited for %v", longest)
	}
}

// batch is an encoded one of records as the recipe makes them.
func batch(t testing.TB, r recipe, epoch, first, count uint64) []byte {
	t.Helper()
	b := &wire.Batch{Epoch: epoch}
	for seq := first; seq < first+count; seq++ {
		body, _ := r.record(seq)
		b.Items = append(b.Items, wire.Item{First: seq, Last: seq, Body: body})
	}
	payload, err := wire.EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}
