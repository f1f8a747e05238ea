package uplink

import (
	"errors"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// TestUnreadableEncoding: what the fleet couldn't read goes another way.
func TestUnreadableEncoding(t *testing.T) {
	b := &wire.Batch{Epoch: 3, Items: []wire.Item{{First: 1, Last: 1, Body: []byte("a")}}}
	cut := func(b *wire.Batch) ([]byte, error) {
		raw, err := wire.EncodeBatch(b)
		return raw[:len(raw)-1], err
	}
	other := func(b *wire.Batch) ([]byte, error) {
		c := *b
		c.Items = []wire.Item{{First: 1, Last: 1, Body: []byte("b")}}
		return wire.EncodeBatch(&c)
	}
	bad := errors.New("bad")
	fails := func(*wire.Batch) ([]byte, error) { return nil, bad }
	raw, err := encode(b, fails, cut, other, wire.EncodePlain)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := wire.EncodePlain(b); err != nil || string(plain) != string(raw) {
		t.Errorf("got %x, %v", raw, err)
	}
	if _, err = encode(b, cut, fails); !errors.Is(err, bad) {
		t.Errorf("without another way: %v", err)
	}
}

// TestRecordThatCannotBeSent: one that the fleet would refuse for ever holds
// up no others.
func TestRecordThatCannotBeSent(t *testing.T) {
	a := newAlone(t, 0)
	hole, err := wire.NewHole(&wire.Hole{First: 700, Last: 900})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range [][]byte{[]byte("one"), hole.Body, []byte("three")} {
		p := a.j.Append(body)
		<-p.Done()
		if _, err := p.Result(); err != nil {
			t.Fatal(err)
		}
	}
	a.expect("at once", a.step(0), "hello")
	a.ack(0, 7)
	var sent []byte
	for sent == nil {
		a.now = a.now.Add(time.Second)
		if _, err := a.talk.step(a.now); err != nil {
			t.Fatal(err)
		}
		for len(a.s.out) > 0 {
			if m := <-a.s.out; m.kind == wire.KindEvents {
				sent = m.payload
			}
		}
	}
	b, err := wire.DecodeBatch(sent)
	if err != nil || len(b.Items) != 3 || string(b.Items[0].Body) != "one" || string(b.Items[2].Body) != "three" {
		t.Fatalf("sent %+v, %v", b, err)
	}
	r, err := wire.Decode(b.Items[1].Body)
	if h := r.GetHole(); err != nil || h.GetFirst() != 2 || h.GetLast() != 2 || h.GetReason() != wire.HoleDamaged {
		t.Errorf("the second is %v, %v", r, err)
	}
	if a.ack(3, 0); a.j.Stats().Acknowledged != 3 {
		t.Error("it goes no further")
	}
}
