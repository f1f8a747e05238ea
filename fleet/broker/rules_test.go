package broker

import (
	"crypto/tls"
	"net"
	"net/url"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestUpAndDown: what a device says reaches the service, and the other way.
func TestUpAndDown(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		fleet, a := s.reader(t), s.connect(t, deviceA)
		for _, kind := range wire.DownKinds {
			if got := a.subscribe(t, down(deviceA, kind), 0); got != 0 {
				t.Fatalf("the device's own %s: %#x", kind, got)
			}
		}
		for _, kind := range wire.UpKinds {
			a.publish(t, up(deviceA, kind), 1, string(kind))
			fleet.expect(t, up(deviceA, kind), string(kind))
		}
		for _, kind := range wire.DownKinds {
			fleet.publish(t, down(deviceA, kind), 0, string(kind))
			a.expect(t, down(deviceA, kind), string(kind))
		}
	})
}

// TestDeviceReadsItsOwnAlone: whatever a device subscribes to, others' messages
// don't reach it. Ours says so; Mosquitto grants it and delivers nothing.
func TestDeviceReadsItsOwnAlone(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		fleet, a, b := s.reader(t), s.connect(t, deviceA), s.connect(t, deviceB)
		if got := b.subscribe(t, down(deviceB, "+"), 0); got != 0 {
			t.Fatalf("its own topics: %#x", got)
		}
		for _, filter := range []string{
			"#", "+/#", "sightline/#", "sightline/v1/#", "sightline/v1/+/+/up/ev", "sightline/v1/+/+/down/ack", "+/+/+/+/+/+",
			down(deviceA, "ack"), down(deviceA, "+"), up(deviceA, "ev"), up(deviceB, "ev"),
			"sightline/v1/" + wire.Shard(deviceB) + "/+/down/ack", "$SYS/#", "$MQTT/#", "$JS/#", "$share/g/sightline/v1/+/+/up/ev",
		} {
			for qos := range byte(2) {
				if b.IsConnectionOpen() {
					if got := b.subscribe(t, filter, qos); s.nats != nil && got != 0x80 {
						t.Errorf("%s with QoS %d: granted %#x", filter, qos, got)
					}
				}
			}
		}
		a.publish(t, up(deviceA, "ev"), 1, "secret")
		fleet.expect(t, up(deviceA, "ev"), "secret")
		fleet.publish(t, down(deviceA, "ack"), 1, "secret")
		fleet.publish(t, down(deviceB, "ack"), 1, "its own")
		// Brokers fan out in order, so that what is denied would be here already.
		b.expect(t, down(deviceB, "ack"), "its own")
	})
}

// TestDeviceWritesItsOwnAlone: what a device says in another's name, or as the
// fleet, reaches nobody.
func TestDeviceWritesItsOwnAlone(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		fleet, a, b := s.reader(t), s.connect(t, deviceA), s.connect(t, deviceB)
		fleet.subscribe(t, "sightline/v1/#", 1)
		a.subscribe(t, down(deviceA, "+"), 0)
		for _, topic := range []string{
			up(deviceA, "ev"), down(deviceA, "ack"), down(deviceB, "ack"), "sightline/v1/x", "sightline/v1/" + wire.Shard(deviceA) + "/" + deviceB + "/up",
			up(deviceB, "invented"), up(deviceB, "ev") + "/more",
			"$SYS/x", "$MQTT/sub/x", "$MQTT/sess/x", "$JS/API/STREAM/DELETE/$MQTT_msgs", "$JS/API/STREAM/PURGE/$MQTT_msgs",
		} {
			for qos := range byte(2) {
				// Mosquitto cuts who asks it to retain.
				b.Publish(topic, qos, qos == 0 && s.nats != nil, "forged").WaitTimeout(patient)
			}
		}
		b.publish(t, up(deviceB, "ev"), 1, "its own")
		fleet.expect(t, up(deviceB, "ev"), "its own")
		fleet.publish(t, down(deviceA, "ack"), 0, "from the fleet")
		a.expect(t, down(deviceA, "ack"), "from the fleet")
	})
}

// TestWill: a device's last will is told when its connection breaks, on its own
// topic alone.
func TestWill(t *testing.T) {
	eachBroker(t, func(t *testing.T, s *subject) {
		fleet := s.reader(t)
		for _, will := range []struct{ topic, payload string }{
			{up(deviceA, "life"), "forged"}, {down(deviceA, "ack"), "forged"}, {up(deviceB, "life"), "gone"},
		} {
			o := s.options(t, deviceB, s.client(t, deviceB, time.Now().Add(time.Hour)))
			o.SetWill(will.topic, will.payload, 1, false)
			var line net.Conn
			o.SetCustomOpenConnectionFn(func(_ *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
				var err error
				line, err = tls.Dial("tcp", s.addr, o.TLSConfig)
				return line, err
			})
			o.TLSConfig.ServerName = "127.0.0.1"
			b, err := s.try(t, o)
			if err != nil {
				t.Logf("refused with a will on %s: %v", will.topic, err)
				continue
			}
			if err := line.(*tls.Conn).NetConn().Close(); err != nil {
				t.Fatal(err)
			}
			if s.nats != nil {
				until(t, "the connection ends", func() bool { return len(s.nats.Connected()) == 1 })
			}
			b.Disconnect(0)
		}
		fleet.expect(t, up(deviceB, "life"), "gone")
	})
}
