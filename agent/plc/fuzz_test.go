package plc

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
)

// failing answers each trigger with FAIL: whatever comes in, no PASS may come out.
func failing() *station {
	return &station{
		recipe: "caps", recipes: []string{"caps", "lids"},
		answer: func(_ context.Context, tr Trigger) Answer {
			return Answer{TriggerID: tr.ID, PartID: tr.Part, Verdict: vision.Fail, Reason: "scratch"}
		},
	}
}

// works runs what is behind a door, without its place on the network.
func works(f *testing.F, l *line) {
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	l.run(ctx, &g, func() {})
	f.Cleanup(func() { cancel(); _ = g.Wait() })
}

// through sends bytes to a door as one connection would, and gives what came back.
// The other end half-closes, as TCP does: what was asked is still answered.
func through(t *testing.T, serve func(ctx context.Context, c *client), in []byte) []byte {
	here, there := net.Pipe()
	if err := here.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	ctx, quit := context.WithCancel(t.Context())
	defer quit()
	c := &client{Conn: halfClosed{there, bytes.NewReader(in)}, peer: netip.MustParseAddr("127.0.0.1"), quit: quit}
	var g errgroup.Group
	g.Go(func() error { serve(ctx, c); return there.Close() })
	out, err := io.ReadAll(here)
	if err != nil {
		t.Fatalf("the door doesn't end: %v", err)
	}
	_ = g.Wait() // it gives none
	return out
}

type halfClosed struct {
	net.Conn
	in io.Reader
}

func (h halfClosed) Read(b []byte) (int, error) { return h.in.Read(b) }

func FuzzASCII(f *testing.F) {
	for _, s := range []string{"T 1 part\r\nS\rP lids\nH\n?\n", "T \x00\n", "\r\r\n\n", "P  caps \nP nothing", "T T T T\nE 1\nR 1 PASS ok\n"} {
		f.Add([]byte(s))
	}
	f.Add(bytes.Repeat([]byte("T 1\n"), 40))
	f.Add(bytes.Repeat([]byte("x"), 1000))
	d, err := NewASCII(ASCIIConfig{Access: loopback(), Heartbeat: 10 * time.Millisecond}, failing(), quiet())
	if err != nil {
		f.Fatal(err)
	}
	works(f, &d.line)
	f.Fuzz(func(t *testing.T, in []byte) {
		out := through(t, d.serve, in)
		asked := bytes.Count(in, []byte("T"))
		for line := range bytes.Lines(out) {
			if !bytes.HasSuffix(line, []byte("\r\n")) || !bytes.ContainsRune([]byte("RESPH?"), rune(line[0])) || len(line) > 600 {
				t.Errorf("%q brought %q", in, line)
			}
			if line[0] == 'R' {
				asked--
				if !bytes.HasSuffix(line, []byte(" FAIL scratch\r\n")) {
					t.Errorf("%q brought %q", in, line)
				}
			}
		}
		if asked < 0 {
			t.Errorf("%q brought more results than triggers: %q", in, out)
		}
		if s := d.stats(); s.Waiting != 0 {
			t.Errorf("%q leaves %d waiting", in, s.Waiting)
		}
	})
}

func FuzzModbus(f *testing.F) {
	for _, s := range []string{"0400000051", "050000ff00", "0f00000010020f00", "10000000010200ff", "17000000100000000a14", "0103"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(adu(1, 0, b))
		f.Add(append(adu(1, 0, b), adu(2, 1, b)...))
	}
	d, err := NewModbus(ModbusConfig{Access: loopback(), Heartbeat: 10 * time.Millisecond}, failing(), quiet())
	if err != nil {
		f.Fatal(err)
	}
	works(f, &d.line)
	f.Fuzz(func(t *testing.T, in []byte) {
		out := through(t, d.serve, in)
		for len(out) > 0 {
			if len(out) < mbapSize+1 || binary.BigEndian.Uint16(out[2:]) != 0 {
				t.Fatalf("% x brought % x", in, out)
			}
			end := 6 + int(binary.BigEndian.Uint16(out[4:]))
			if end > len(out) || end > mbapSize+maxPDU {
				t.Fatalf("% x brought % x", in, out)
			}
			if pdu := out[mbapSize:end]; pdu[0]&0x80 != 0 && (len(pdu) != 2 || pdu[1] < 1 || pdu[1] > 6) {
				t.Fatalf("% x brought the exception % x", in, pdu)
			}
			out = out[end:]
		}
		m := d.look()
		if m.verdict() == vision.Pass || m.waiting > queueLength || m.status()&(bitPass|bitRej) != bitRej {
			t.Errorf("% x leaves %+v", in, m)
		}
		d.mu.Lock()
		d.restart()
		d.mu.Unlock()
	})
}
