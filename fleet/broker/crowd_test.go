package broker

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// full is true if the counts of the specification are asked for.
func full() bool { return os.Getenv("SIGHTLINE_FAULTS") == "full" }

// TestStuckSubscriber: one that stops reading holds up nobody; ours cuts it.
func TestStuckSubscriber(t *testing.T) {
	t.Parallel()
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("qos%d", qos), func(t *testing.T) {
			t.Parallel()
			eachBroker(t, func(t *testing.T, s *subject) { stuckSubscriber(t, s, qos) })
		})
	}
}

func stuckSubscriber(t *testing.T, s *subject, qos byte) {
	const id = service + "-stuck"
	name := id
	if s.nats != nil {
		name = service // may have more ids there
	}
	stuck := s.line(t, name)
	filter := "sightline/v1/+/+/up/ev"
	hello := fmt.Sprintf("\x10%c\x00\x04MQTT\x04\x02\x00\x00\x00%c%s", 12+len(id), len(id), id)
	hello += fmt.Sprintf("\x82%c\x00\x01\x00%c%s%c", 5+len(filter), len(filter), filter, qos)
	if _, err := stuck.Write([]byte(hello)); err != nil {
		t.Fatal(err)
	}
	fleet, a := s.reader(t), s.connect(t, deviceA)
	if s.nats != nil {
		until(t, "the one that will be stuck is there", func() bool { return has(s.nats, id) })
	}

	payload := string(make([]byte, 64<<10))
	var slowest time.Duration
	for range 1000 { // 65 MB, far over what may wait for one client
		start := time.Now()
		a.publish(t, up(deviceA, "ev"), 1, payload)
		fleet.expect(t, up(deviceA, "ev"), payload)
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("the slowest message took %s to the reader and its acknowledgement", slowest)
	if slowest > 2*time.Second {
		t.Errorf("a message took %s beside the stuck subscriber", slowest)
	}
	if s.nats != nil {
		until(t, "the stuck one is cut", func() bool { return !has(s.nats, id) })
	}
}

func has(b *Broker, id string) bool {
	for _, c := range b.connections() {
		if c.MQTTClient == id {
			return true
		}
	}
	return false
}

// TestManyReconnect: all devices come back at once after the broker was away.
func TestManyReconnect(t *testing.T) {
	t.Parallel()
	count := 100
	if full() {
		count = 500
	}
	s := startNATS(t, Config{})
	fleet := s.reader(t)
	cert := map[string]tls.Certificate{}
	for i := range count {
		name := fmt.Sprintf("press-%03d", i)
		cert[name] = s.client(t, name, time.Now().Add(time.Hour))
	}
	for round := range 2 {
		var slowest atomic.Int64
		start := time.Now()
		var all sync.WaitGroup
		peers := make(chan mqtt.Client, count)
		for name := range cert {
			all.Go(func() {
				p, err := s.try(t, s.options(t, name, cert[name]))
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				peers <- p.Client
				took := int64(time.Since(start))
				for old := slowest.Load(); took > old && !slowest.CompareAndSwap(old, took); old = slowest.Load() {
				}
				token := p.Subscribe(down(name, "ack"), 0, nil)
				if !token.WaitTimeout(patient) || token.Error() != nil {
					t.Errorf("%s subscribes: %v", name, token.Error())
				}
				token = p.Publish(up(name, "hello"), 1, false, name)
				if !token.WaitTimeout(patient) || token.Error() != nil {
					t.Errorf("%s publishes: %v", name, token.Error())
				}
			})
		}
		all.Wait()
		heard := map[string]bool{}
		for range count {
			select {
			case m := <-fleet.got:
				heard[string(m.Payload())] = true
			case <-time.After(patient):
				t.Fatalf("%d of %d were heard", len(heard), count)
			}
		}
		t.Logf("round %d: %d devices connected within %s, were all heard after %s",
			round, len(heard), time.Duration(slowest.Load()), time.Since(start))
		for name := range cert {
			s.nats.Cut(name)
		}
		close(peers)
		for p := range peers {
			p.Disconnect(0)
		}
		until(t, "they are gone", func() bool { return s.nats.srv.NumClients() == 1 })
	}
}
