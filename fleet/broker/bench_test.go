package broker

import (
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// BenchmarkQoS1 is one device's messages of 512 bytes through a broker to the
// service, 64 at most without their acknowledgement. The service reads with QoS
// 1, or 0.
func BenchmarkQoS1(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *subject{
		"nats":      func(t testing.TB) *subject { return startNATS(t, Config{}) },
		"mosquitto": func(t testing.TB) *subject { return startMosquitto(t) },
	} {
		for qos, reads := range []string{"reads0", "reads1"} {
			b.Run(name+"/"+reads, func(b *testing.B) {
				s := start(b)
				fleet, a := s.connect(b, service), s.connect(b, deviceA)
				fleet.subscribe(b, "sightline/v1/+/+/up/ev", byte(qos))
				payload := make([]byte, 512)
				b.SetBytes(int64(len(payload)))
				b.ResetTimer()
				var window []mqtt.Token
				received := 0
				for range b.N {
					window = append(window, a.Publish(up(deviceA, "ev"), 1, false, payload))
					if len(window) == 64 {
						wait(b, window[0])
						window = window[1:]
					}
					for len(fleet.got) > 0 {
						<-fleet.got
						received++
					}
				}
				for _, token := range window {
					wait(b, token)
				}
				for ; received < b.N; received++ {
					<-fleet.got
				}
			})
		}
	}
}

func wait(b *testing.B, token mqtt.Token) {
	b.Helper()
	if !token.WaitTimeout(patient) || token.Error() != nil {
		b.Fatalf("publish: %v", token.Error())
	}
}
