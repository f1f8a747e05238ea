package ingest

import (
	"testing"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// TestConversation: a device says hello, learns where it is, sends, sends
// again, sends too far ahead, and each time learns how far it has come.
func TestConversation(t *testing.T) {
	m := broker(t)
	told := make(chan []store.Row, 10)
	f := fresh(t, m.addr, func(r []store.Row) { told <- r }, "dev-a")
	d := connect(t, m, "dev-a")
	d.say(t, wire.KindHello, &wire.Hello{Protocol: wire.Protocol, Connection: 1<<63 + 7, Epoch: 1<<63 + 9, First: 1, Last: 100,
		Inventory: &wire.Inventory{Version: "1.2"}})
	if a := d.ack(t); a.GetConnection() != 1<<63+7 || a.GetEpoch() != 1<<63+9 || a.GetWatermark() != 0 {
		t.Errorf("to Hello: %v", a)
	}
	const epoch = 1<<63 + 9
	for _, s := range []struct {
		first uint64
		n     int
		want  uint64
	}{{1, 10, 10}, {1, 10, 10}, {5, 10, 14}, {16, 3, 14}, {15, 1, 15}} {
		d.send(t, wire.KindEvents, batch(t, epoch, s.first, s.n))
		if a := d.ack(t); a.GetEpoch() != epoch || a.GetWatermark() != s.want || a.GetConnection() != 0 {
			t.Errorf("to %d from %d: %v, want %d", s.n, s.first, a, s.want)
		}
	}
	if rows := <-told; len(rows) != 10 || rows[9].Seq != 10 || rows[9].Record.GetPartId() != "part-10" {
		t.Errorf("told %+v", rows)
	}
	for range 2 { // what came of the batches after that
		<-told
	}
	amendment, err := wire.EncodeTold(&wire.Told{Seq: 3, Answer: &wire.Answer{Verdict: wire.Verdict_VERDICT_NONE, Reason: "late"}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := wire.EncodeBatch(&wire.Batch{Epoch: epoch, Items: []wire.Item{{First: 16, Last: 16, Body: amendment}}})
	if err != nil {
		t.Fatal(err)
	}
	d.send(t, wire.KindEvents, raw)
	d.ack(t)
	select {
	case rows := <-told:
		if len(rows) != 1 || rows[0].Seq != 3 || rows[0].Reason != "late" || !rows[0].Again || rows[0].Record.GetPartId() != "part-3" {
			t.Errorf("told %+v", rows)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody is told of a result that was told otherwise later")
	}
	rows, _, err := f.store.Results(t.Context(), store.Query{})
	if err != nil || len(rows) != 15 || rows[0].Seq != 15 || rows[14].Seq != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	st := f.in.Stats()
	if st.Batches != 6 || st.Records != 15 || st.Duplicates != 16 || st.Gaps != 1 || st.Dropped != 0 || st.Refused != 0 {
		t.Errorf("got %+v", st)
	}
	eventually(t, "its presence", func() bool {
		a, err := f.store.Device(t.Context(), "dev-a")
		return err == nil && a.Connection == 1<<63+7 && a.Watermark == 16 && a.Hello.GetInventory().GetVersion() == "1.2" && a.Last.Seq == 15
	})
}
