package uplink

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func TestGuardPassesPackets(t *testing.T) {
	var good bytes.Buffer
	for _, p := range []packets.ControlPacket{
		&packets.ConnackPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Connack}},
		&packets.SubackPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Suback}, MessageID: 1, ReturnCodes: append(make([]byte, len(downKinds)-1), 0x80)},
		&packets.PublishPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Publish}, TopicName: "a", Payload: make([]byte, 64<<10)},
		&packets.PubackPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Puback}, MessageID: 9},
		&packets.PingrespPacket{FixedHeader: packets.FixedHeader{MessageType: packets.Pingresp}},
	} {
		if err := p.Write(&good); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []int{1, 2, 7, 100000} {
		g := new(guard)
		for b := good.Bytes(); len(b) > 0; b = b[min(step, len(b)):] {
			if err := g.follow(b[:min(step, len(b))]); err != nil {
				t.Fatalf("%d bytes at a time: %v", step, err)
			}
		}
		if g.at != inHeader {
			t.Errorf("%d bytes at a time: it is %d after the last packet", step, g.at)
		}
	}
}

func TestGuardRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"a SUBACK for more than was asked", []byte{0x90, 7, 0, 1, 0, 0, 0, 0, 0}},
		{"a SUBACK for less", []byte{0x90, 3}},
		{"256 MB", []byte{0x30, 0xff, 0xff, 0xff, 0x7f}},
		{"72 KB and one", []byte{0x30, 0x81, 0xc0, 0x04}},
		{"a length without an end", []byte{0x30, 0x80, 0x80, 0x80, 0x80}},
		{"CONNECT", []byte{0x10, 2}},
		{"PUBREL", []byte{0x62, 2}},
		{"kind 15", []byte{0xf0, 0}},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n")},
		{"zeros", make([]byte, 9)},
	} {
		if err := new(guard).follow(tt.b); !errors.Is(err, errPacket) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestGuardFindsADeadPeer: one that takes nothing, and one that says nothing.
func TestGuardFindsADeadPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		g := &guard{Conn: here}
		began := time.Now()
		if _, err := g.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != silence {
			t.Errorf("a silent peer: %v after %s", err, time.Since(began))
		}
		began = time.Now()
		if _, err := g.Write(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != writeLimit {
			t.Errorf("a full peer: %v after %s", err, time.Since(began))
		}
	})
}

// TestGuardIsPatientWithASlowLink: 8 KB/s are slow, not dead.
func TestGuardIsPatientWithASlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		g := &guard{Conn: here}
		got, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 800)
			for {
				time.Sleep(100 * time.Millisecond)
				n, err := io.ReadFull(there, b)
				got += n
				if err != nil {
					return
				}
			}
		}()
		packet := make([]byte, 250<<10)
		if n, err := g.Write(packet); n != len(packet) || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
		_ = here.Close()
		<-done
		if got != len(packet) {
			t.Errorf("%d bytes came", got)
		}
	})
}

// FuzzGuard: whatever a broker sends, what passes the guard doesn't hurt the
// client's reader.
func FuzzGuard(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 6, 0, 1, 0, 0, 0, 0, 0x30, 5, 0, 1, 'a', 'b', 'c'})
	f.Add([]byte{0x30, 3, 0xff, 0xff, 'a'})
	f.Add([]byte{0x3f, 3, 0, 1, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		go func() {
			_, _ = there.Write(b)
			_ = there.Close()
		}()
		g := &guard{Conn: here}
		for {
			if _, err := packets.ReadPacket(g); err != nil {
				_ = here.Close()
				return
			}
		}
	})
}
