package ingest

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// heardFrom is what Heard was told.
type heardFrom struct {
	device string
	kind   wire.Kind
	body   string
}

// hearing is an ingester whose Heard goes into a channel. Its results end in
// told, which may hold the writer up.
func hearing(t *testing.T, addr string, told func([]store.Row), devices ...string) (*Ingest, *store.Store, chan heardFrom) {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range devices {
		key := [32]byte{byte(i), 1}
		if err := s.AddEnrolToken(t.Context(), store.EnrolToken{Key: key, Group: "g", Expires: s.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		if err := s.AddDevice(t.Context(), store.Device{ID: id}, key); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan heardFrom, 1000)
	in := New(Config{
		Store: s, Broker: addr, Log: slog.New(slog.DiscardHandler), Told: told,
		Heard: func(device string, kind wire.Kind, body []byte) { got <- heardFrom{device, kind, string(body)} },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the connection", func() bool { return in.Stats().Connected })
	return in, s, got
}

func next(t *testing.T, from chan heardFrom) heardFrom {
	t.Helper()
	select {
	case h := <-from:
		return h
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was heard")
		return heardFrom{}
	}
}

// TestHeard: what enrolled devices say about bundles is passed on in order;
// who isn't enrolled, or was revoked, isn't heard.
func TestHeard(t *testing.T) {
	m := broker(t)
	_, s, got := hearing(t, m.addr, nil, "dev-a", "dev-b")
	a, b, stranger := connect(t, m, "dev-a"), connect(t, m, "dev-b"), connect(t, m, "dev-x")
	if err := s.Revoke(t.Context(), "dev-b", s.Now()); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		b.send(t, wire.KindGet, []byte("revoked"))
		stranger.send(t, wire.KindReport, []byte("stranger"))
		a.send(t, wire.KindGet, []byte{byte(i)})
		a.send(t, wire.KindGet, make([]byte, maxHeard+1))
		a.send(t, wire.KindReport, []byte{byte(i), 'r'})
	}
	for i := range 20 {
		for _, want := range []heardFrom{{"dev-a", wire.KindGet, string([]byte{byte(i)})}, {"dev-a", wire.KindReport, string([]byte{byte(i), 'r'})}} {
			if h := next(t, got); h != want {
				t.Fatalf("got %q, want %q", h, want)
			}
		}
	}
}

// TestRevokedWhileHeard: a device is heard for a few seconds after it was
// revoked, and no longer.
func TestRevokedWhileHeard(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.AddEnrolToken(t.Context(), store.EnrolToken{Key: [32]byte{1}, Expires: s.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDevice(t.Context(), store.Device{ID: "dev-a"}, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	l := letIn{store: s, until: map[string]verdict{}}
	is := func(want bool) {
		t.Helper()
		if ok, err := l.is(t.Context(), "dev-a"); ok != want || err != nil {
			t.Errorf("%v %v", ok, err)
		}
	}
	is(true)
	if err := s.Revoke(t.Context(), "dev-a", s.Now()); err != nil {
		t.Fatal(err)
	}
	is(true)
	v := l.until["dev-a"]
	if left := time.Until(v.ends); left > knownFor {
		t.Errorf("it is heard for another %v", left)
	}
	l.until["dev-a"] = verdict{true, time.Now()}
	is(false)
}

// TestPiecesDontWaitForTheStore: while results can't be written, pieces are
// asked for and sent.
func TestPiecesDontWaitForTheStore(t *testing.T) {
	m := broker(t)
	stuck, release := make(chan struct{}), make(chan struct{})
	in, _, got := hearing(t, m.addr, func([]store.Row) { close(stuck); <-release }, "dev-a")
	defer close(release)
	a := connect(t, m, "dev-a")
	a.send(t, wire.KindEvents, batch(t, 1, 1, 3))
	select {
	case <-stuck:
	case <-time.After(20 * time.Second):
		t.Fatal("no result was stored")
	}
	blocks := make(chan []byte, 10)
	done(t, a.client.Subscribe(wire.Topic("dev-a", wire.Down, wire.KindBlock), 0, func(_ mqtt.Client, m mqtt.Message) { blocks <- m.Payload() }))
	a.send(t, wire.KindGet, []byte("piece"))
	if h := next(t, got); h.body != "piece" {
		t.Errorf("%q", h)
	}
	large := bytes.Repeat([]byte("x"), 64<<10)
	if !in.Send("dev-a", wire.KindBlock, large) {
		t.Error("it isn't sent")
	}
	select {
	case b := <-blocks:
		if !bytes.Equal(b, large) {
			t.Errorf("%d bytes came", len(b))
		}
	case <-time.After(20 * time.Second):
		t.Error("no block came")
	}
}

// TestSendWithoutConnection: nothing waits for one.
func TestSendWithoutConnection(t *testing.T) {
	in := New(Config{})
	if in.Send("dev-a", wire.KindCmd, []byte("x")) {
		t.Error("it says that it is sent")
	}
}

// TestWordsGoFirst: commands pass blocks, and don't wait for room among them.
func TestWordsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeech()
		block := said{"blk", make([]byte, 64<<10)}
		n := 0
		for ; n < maxSaidBytes/len(block.body); n++ {
			if !s.put(block, true) {
				t.Fatal("there is no room")
			}
		}
		began := time.Now()
		if s.put(block, true) || time.Since(began) != sayPatience {
			t.Errorf("a block too many: after %v", time.Since(began))
		}
		if !s.put(said{"cmd", nil}, false) || time.Since(began) != sayPatience {
			t.Error("a command waits")
		}
		if m, _ := s.next(); m.topic != "cmd" {
			t.Errorf("%s goes first", m.topic)
		}
		ok := make(chan bool)
		go func() { ok <- s.put(block, true) }()
		synctest.Wait()
		s.next()
		if !<-ok || time.Since(began) != sayPatience {
			t.Error("room is not seen")
		}
		for ; n > 0; n-- {
			if m, ok := s.next(); !ok || m.topic != "blk" {
				t.Fatal("a block is missing")
			}
		}
		if _, ok := s.next(); ok || s.bytes != 0 {
			t.Errorf("%d bytes are counted", s.bytes)
		}
		for range maxSaid {
			s.put(said{"cmd", nil}, false)
		}
		if s.put(said{"cmd", nil}, false) {
			t.Error("commands have no bound")
		}
		s.clear()
		if _, ok := s.next(); ok {
			t.Error("something is left")
		}
	})
}
