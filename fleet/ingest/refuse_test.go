package ingest

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestRefusals: what can't be taken is answered with why, and holds up nobody.
func TestRefusals(t *testing.T) {
	m := broker(t)
	f := fresh(t, m.addr, nil, "dev-a", "dev-b")
	if err := f.store.Revoke(t.Context(), "dev-b", f.store.Now()); err != nil {
		t.Fatal(err)
	}
	a, b, stranger := connect(t, m, "dev-a"), connect(t, m, "dev-b"), connect(t, m, "dev-x")
	hello := &wire.Hello{Protocol: wire.Protocol, Connection: 1, Epoch: 1}
	beyond, err := wire.NewHole(&wire.Hole{First: 1, Last: 1<<62 + 1})
	if err != nil {
		t.Fatal(err)
	}
	far, err := wire.EncodeBatch(&wire.Batch{Epoch: 1, Items: []wire.Item{beyond}})
	if err != nil {
		t.Fatal(err)
	}
	raw := batch(t, 1, 1, 5)
	send := func(kind wire.Kind, body []byte) func(*device) {
		return func(d *device) { d.send(t, kind, body) }
	}
	say := func(h *wire.Hello) func(*device) { return func(d *device) { d.say(t, wire.KindHello, h) } }
	for i, c := range []struct {
		d    *device
		send func(*device)
		want wire.Refusal_Code
		text string
	}{
		{b, send(wire.KindEvents, raw), wire.Refusal_CODE_REVOKED, "enrol it again"},
		{stranger, say(hello), wire.Refusal_CODE_REVOKED, "dev-x"},
		{a, send(wire.KindEvents, raw[:len(raw)-1]), wire.Refusal_CODE_UNREADABLE, "batch"},
		{a, say(&wire.Hello{Protocol: 2, Connection: 1}), wire.Refusal_CODE_PROTOCOL, "protocol 2, the fleet knows 1"},
		{a, send(wire.KindHello, []byte{0xff}), wire.Refusal_CODE_UNREADABLE, "Hello"},
		{a, send(wire.KindState, []byte{0xff}), wire.Refusal_CODE_UNREADABLE, "State"},
		{a, send(wire.KindLife, []byte{0xff}), wire.Refusal_CODE_UNREADABLE, "Life"},
		{a, send(wire.KindEvents, far), wire.Refusal_CODE_UNREADABLE, "beyond"},
	} {
		var r *wire.Refusal
		for tries := 0; r == nil; tries++ { // one a second gets an answer
			if tries == 100 {
				t.Fatalf("%d: no refusal came", i)
			}
			c.send(c.d)
			select {
			case r = <-c.d.errs:
			case <-afterAnswer():
			}
		}
		if r.GetCode() != c.want || !strings.Contains(r.GetText(), c.text) || r.GetRetryMs() != 0 {
			t.Errorf("%d: %v, want %v %q", i, r, c.want, c.text)
		}
	}
	a.send(t, wire.KindEvents, raw)
	if got := a.ack(t); got.GetWatermark() != 5 {
		t.Errorf("got %v", got)
	}
	if got, err := f.store.Totals(t.Context(), ""); err != nil || got != (store.Totals{Results: 5, Pass: 5}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(b.acks)+len(stranger.acks) != 0 {
		t.Error("a device that may not send was acknowledged")
	}
}

// TestTopicCounts: a device that names another in its message, or publishes
// under another's shard, is itself or nobody.
func TestTopicCounts(t *testing.T) {
	m := broker(t)
	f := fresh(t, m.addr, nil, "dev-a", "dev-b")
	d := connect(t, m, "dev-a")
	shard := wire.Shard("dev-b")
	for _, topic := range []string{
		"sightline/v1/" + shard + "/dev-a/up/ev", "sightline/v1/00/DEV/up/ev", "sightline/v1/" + shard + "/dev-b-b/up/ev",
	} {
		done(t, d.client.Publish(topic, 0, false, batch(t, 1, 1, 1)))
	}
	d.send(t, wire.KindEvents, batch(t, 1, 1, 1))
	if a := d.ack(t); a.GetWatermark() != 1 {
		t.Errorf("got %v", a)
	}
	if st := f.in.Stats(); st.Unreadable != 3 || st.Records != 1 {
		t.Errorf("got %+v", st)
	}
}

// TestFullStore: with no room the devices are told to try again, and with room
// again all goes on, and nothing that was acknowledged is missing.
func TestFullStore(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("left out: a small tmpfs can't be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	m := broker(t)
	f := start(t, filepath.Join(dir, "fleet.db"), m.addr, nil, "dev-a")
	d := connect(t, m, "dev-a")
	at := uint64(0)
	var refused *wire.Refusal
	for refused == nil {
		d.send(t, wire.KindEvents, batch(t, 1, at+1, 100))
		select {
		case a := <-d.acks:
			at = a.GetWatermark()
		case refused = <-d.errs:
		}
	}
	if refused.GetCode() != wire.Refusal_CODE_UNAVAILABLE || refused.GetRetryMs() == 0 || at == 0 {
		t.Fatalf("after %d: %v", at, refused)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	d.send(t, wire.KindEvents, batch(t, 1, at+1, 100))
	if a := d.ack(t); a.GetWatermark() != at+100 {
		t.Errorf("got %v after %d", a, at)
	}
	if got, err := f.store.Totals(t.Context(), "dev-a"); err != nil || got.Results != at+100 {
		t.Errorf("got %+v, %v, want %d", got, err, at+100)
	}
	if st := f.in.Stats(); st.Failed == 0 || !strings.Contains(f.log.String(), "no space is left") {
		t.Errorf("got %+v\n%s", st, f.log)
	}
}

// FuzzMessage: whatever comes under whatever kind, the ingester goes on, and a
// good batch after it is stored.
func FuzzMessage(f *testing.F) {
	for i, kind := range wire.UpKinds {
		f.Add(i, []byte{})
		f.Add(i, batch(f, math.MaxUint64, 1, 3))
		b, err := wire.Marshal(&wire.State{Connection: 1, AgeMs: 5, EveryMs: math.MaxUint32})
		if err != nil {
			f.Fatal(err, kind)
		}
		f.Add(i, b)
	}
	fl := &fleet{}
	s, err := store.Open(filepath.Join(f.TempDir(), "fleet.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	fl.store, fl.in = s, New(Config{Store: s})
	n := uint64(0)
	f.Fuzz(func(t *testing.T, kind int, body []byte) {
		n++
		id := fmt.Sprintf("dev-%d-%d", os.Getpid(), n)
		key := [32]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
		if err := s.AddEnrolToken(t.Context(), store.EnrolToken{Key: key, Expires: s.Now().AddDate(1, 0, 0)}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddDevice(t.Context(), store.Device{ID: id}, key); err != nil {
			t.Fatal(err)
		}
		kinds := append([]wire.Kind{"odd"}, wire.UpKinds...)
		fl.in.queue.put(message{device: id, kind: kinds[uint(kind)%uint(len(kinds))], body: body, at: s.Now()})
		fl.in.queue.put(message{device: id, kind: wire.KindEvents, body: batch(t, 12345, 1, 1), at: s.Now()})
		for fl.in.group(t.Context()) {
		}
		if err := s.Heard(t.Context(), fl.in.signs.all()); err != nil {
			t.Error(err)
		}
		fl.in.signs = signs{}
		if m, err := s.Watermark(t.Context(), id, 12345); err != nil || m.Watermark == 0 {
			t.Errorf("got %+v, %v", m, err)
		}
		fl.in.out.clear()
	})
}
