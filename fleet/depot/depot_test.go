package depot

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

// TestPublish: what is put and signed is what devices find, also after a
// restart.
func TestPublish(t *testing.T) {
	c := new(clock)
	d, o := publishing(t, c)
	raw := archive(t, "1.0.0", 3*PieceSize)
	b := put(t, d, raw)
	if b.Published || believes1(d) {
		t.Error("it is published before anybody signed it")
	}
	must(t, d.PutTargets(o.names(d, b)))
	must(t, d.PutTargets(d.current.Load().targets)) // a repetition, as after an answer that was lost
	for _, d := range []*Depot{d, opened(t, d.top.path, c)} {
		got, err := d.Bundle(b.Digest)
		must(t, err)
		want := &Bundle{
			Digest: sha(raw), Size: int64(len(raw)), Pieces: b.Pieces, Target: "bundles/caps/1.0.0.slb", Name: "caps", Version: "1.0.0",
			Licence: "Apache-2.0", Family: "yolov8", Model: b.Model, Labels: []string{"part", "scratch"}, Rule: "threshold:defect>0.5", Put: b.Put, Published: true,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if all, err := d.List(); err != nil || len(all) != 1 || all[0].Digest != b.Digest {
			t.Errorf("%v %v", all, err)
		}
		s := device(t, d)
		must(t, s.Find(b.Target))
		target, err := s.Found()
		must(t, err)
		f, err := d.Target(b.Digest)
		must(t, err)
		must(t, target.Copy(io.Discard, f))
		must(t, f.Close())
		pieces, err := d.Pieces(b.Digest)
		must(t, err)
		list, err := bundle.Pieces(bytes.NewReader(raw))
		if must(t, err); !bytes.Equal(list, pieces) || sha(pieces) != b.Pieces || target.Pieces != digestOf(t, b.Pieces) || len(pieces) != 4*32 {
			t.Error("the pieces are others")
		}
		st := d.State()
		if st.Root != 1 || st.Targets != 1 || st.Stale != nil || st.Trouble != nil || st.RootEnds.IsZero() || st.TargetsEnds.IsZero() {
			t.Errorf("%+v", st)
		}
	}
}

func believes1(d *Depot) bool {
	_, err := d.Metadata(trust.TimestampFile)
	return err == nil
}

// TestSignedAnew: the timestamp is signed anew when half its life is over, and
// so is the snapshot; a device that comes after a month of nothing new is served.
func TestSignedAnew(t *testing.T) {
	c := new(clock)
	d, _ := publishing(t, c, "1.0.0")
	versions := func() [2]int64 {
		v := device(t, d).Versions()
		return [2]int64{v[trust.SnapshotFile], v[trust.TimestampFile]}
	}
	for _, step := range []struct {
		after time.Duration
		want  [2]int64
	}{
		{3 * 24 * time.Hour, [2]int64{1, 1}},
		{36 * time.Hour, [2]int64{1, 2}}, // 4.5 days
		{24 * time.Hour, [2]int64{1, 2}},
		{10 * 24 * time.Hour, [2]int64{2, 3}}, // 15.5 days
		{0, [2]int64{2, 3}},
		{-20 * 24 * time.Hour, [2]int64{3, 4}}, // the clock had stood ahead and was set back
	} {
		c.ahead += step.after
		d.renew()
		if got := versions(); got != step.want {
			t.Errorf("after %v: %v, want %v", c.ahead, got, step.want)
		}
	}
	if d.State().Trouble != nil {
		t.Error(d.State().Trouble)
	}
}

// TestDamagedSignatures: what the depot signs by itself is made again when it
// is lost or damaged, and devices that saw the old one believe the new one.
func TestDamagedSignatures(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"lost": os.Remove,
		"cut":  func(path string) error { return os.Truncate(path, 100) },
	} {
		for _, file := range []string{trust.TimestampFile, "2.snapshot.json"} {
			t.Run(name+" "+file, func(t *testing.T) {
				c := new(clock)
				d, o := publishing(t, c, "1.0.0", "1.1.0")
				before := map[string][]byte{}
				for _, name := range []string{trust.TimestampFile, "2.snapshot.json"} {
					b, err := d.Metadata(name)
					must(t, err)
					before[name] = b
				}
				must(t, damage(d.top.in(metadataFolder).file(file)))
				d = opened(t, d.top.path, c)
				s, err := trust.New(d.Root(), c.now())
				must(t, err)
				s.Load(trust.TimestampFile, before[trust.TimestampFile])
				s.Load(trust.SnapshotFile, before["2.snapshot.json"])
				for want, more := s.Next(); more; want, more = s.Next() {
					if b, err := d.Metadata(want.Name); err != nil {
						err = s.Missing()
						must(t, err)
					} else {
						must(t, s.Got(b))
					}
				}
				must(t, d.PutTargets(o.names(d, put(t, d, archive(t, "1.2.0", 10)))))
				if !believes(t, d, "1.2.0") || !believes(t, d, "1.0.0") {
					t.Error("it isn't published")
				}
			})
		}
	}
}

// TestKeysAreChanged: next keys come into use with the root that names them,
// and devices follow.
func TestKeysAreChanged(t *testing.T) {
	c := new(clock)
	d, o := publishing(t, c, "1.0.0")
	old := d.Keys()
	next, err := d.NextKeys()
	must(t, err)
	if again, err := d.NextKeys(); err != nil || publish.ID(again.Snapshot) != publish.ID(next.Snapshot) {
		t.Error("asking again makes others", err)
	}
	d = opened(t, d.top.path, c)
	must(t, d.PutRoot(o.next(d.Root(), publish.Change{Role: "timestamp", Old: publish.ID(old.Timestamp), New: next.Timestamp})))
	if got := d.Keys(); publish.ID(got.Timestamp) != publish.ID(next.Timestamp) || publish.ID(got.Snapshot) != publish.ID(old.Snapshot) {
		t.Error("other keys are in use than the root names")
	}
	if !believes(t, d, "1.0.0") {
		t.Error("devices don't follow")
	}
	must(t, d.PutRoot(o.next(d.Root(), publish.Change{Role: "snapshot", Old: publish.ID(old.Snapshot), New: next.Snapshot})))
	d = opened(t, d.top.path, c)
	if v := device(t, d).Versions(); v[trust.RootFile] != 3 || d.State().Trouble != nil {
		t.Errorf("%v %v", v, d.State().Trouble)
	}
	must(t, d.PutTargets(o.names(d, put(t, d, archive(t, "1.1.0", 10)))))
	if !believes(t, d, "1.1.0") {
		t.Error("nothing can be published any more")
	}
}

// TestTargetsKeyIsChanged: after a root that takes the targets key away, what
// the old key signed isn't believed, and the depot says so until somebody
// signs anew.
func TestTargetsKeyIsChanged(t *testing.T) {
	c := new(clock)
	d, o := publishing(t, c, "1.0.0")
	stolen := o.targets
	o.targets = o.key()
	must(t, d.PutRoot(o.next(d.Root(), publish.Change{Role: "targets", Old: stolen.ID(), New: o.targets.Public()})))
	for _, d := range []*Depot{d, opened(t, d.top.path, c)} {
		if st := d.State(); st.Stale == nil || st.Root != 2 {
			t.Errorf("%+v", st)
		}
		d.renew()
		_, err := refresh(d.Root(), c.now(), d.Metadata)
		if trust.CodeOf(err) != trust.UnknownKey {
			t.Errorf("a device says %v", err)
		}
	}
	c.ahead += 5 * 24 * time.Hour
	d.renew()
	if st := d.State(); st.Trouble != nil {
		t.Error(st.Trouble)
	}
	anew, err := publish.RenewTargets(d.current.Load().targets, d.Root(), time.Now().Add(publish.TargetsLife), o.targets)
	must(t, err)
	must(t, d.PutTargets(anew))
	if st := d.State(); st.Stale != nil || !believes(t, d, "1.0.0") {
		t.Errorf("%+v", st)
	}
}

// TestKeysAreLost: the depot says so, goes on, and is mended by a root that
// names its new keys.
func TestKeysAreLost(t *testing.T) {
	c := new(clock)
	d, o := publishing(t, c, "1.0.0")
	old := d.Keys()
	for _, role := range onlineRoles {
		must(t, os.Remove(d.top.in(keysFolder).file(role+keySuffix)))
	}
	d = opened(t, d.top.path, c)
	if st := d.State(); st.Trouble == nil || st.Root != 1 || !believes(t, d, "1.0.0") {
		t.Errorf("%+v", st)
	}
	now := d.Keys()
	must(t, d.PutRoot(o.next(d.Root(), publish.Change{Role: "snapshot", Old: publish.ID(old.Snapshot), New: now.Snapshot},
		publish.Change{Role: "timestamp", Old: publish.ID(old.Timestamp), New: now.Timestamp})))
	d.renew()
	if st := d.State(); st.Trouble != nil || !believes(t, d, "1.0.0") {
		t.Errorf("%+v", st)
	}
}

// TestDamagedDescription: a bundle whose description can't be read is left out,
// and mended when it is put again.
func TestDamagedDescription(t *testing.T) {
	d := fresh(t)
	b := put(t, d, archive(t, "1.0.0", 100))
	put(t, d, archive(t, "1.1.0", 100))
	must(t, os.WriteFile(d.top.in(aboutFolder).file(b.Digest+".json"), []byte("{"), 0o600))
	if all, err := d.List(); err != nil || len(all) != 1 {
		t.Errorf("%v %v", all, err)
	}
	put(t, d, archive(t, "1.0.0", 100))
	if all, err := d.List(); err != nil || len(all) != 2 {
		t.Errorf("%v %v", all, err)
	}
}

// TestUnusableMetadata: a fleet starts without it, and tells.
func TestUnusableMetadata(t *testing.T) {
	c := new(clock)
	d, _ := publishing(t, c, "1.0.0")
	path := d.top.in(metadataFolder).file("1.root.json")
	whole, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, whole[:50], 0o600))
	d = opened(t, d.top.path, c)
	d.renew()
	if st := d.State(); st.Trouble == nil || st.Root != 0 {
		t.Errorf("%+v", st)
	}
	must(t, os.WriteFile(path, whole, 0o600))
	d.renew()
	if st := d.State(); st.Trouble != nil || st.Root != 1 {
		t.Errorf("%+v", st)
	}
}
