package agent

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/sched"
)

// sharing is a loadout whose model takes any number of pictures, up to so many in one
// run, whether that pays or not.
func sharing(t testing.TB, share int) Loadout {
	t.Helper()
	l := shipped(t, "first", doubting) // for its rule and what goes with it
	library, err := infer.FindLibrary("")
	if err != nil {
		t.Skip("left out: ", err)
	}
	data, err := os.ReadFile("../vision/infer/testdata/dynamic.onnx")
	if err != nil {
		t.Fatal(err)
	}
	info, err := infer.Describe(data)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := info.Spec(infer.Options{Family: "fastestdet", Width: 320, Height: 192, Labels: []string{"blue", "red"}, Confidence: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	l.Model = infer.New(infer.Config{
		Executable: os.Args[0], Env: []string{asWorker + "=infer"}, Library: library, Model: infer.Model{Path: "dynamic", Data: data}, Spec: spec, Log: quiet,
		Share: share, SharePays: 1000,
	})
	l.About = Model{Name: "dynamic", Digest: "digest of dynamic"}
	l.Track.Roles = map[string]vision.Role{"blue": vision.DefectRole, "red": vision.DefectRole}
	return l
}

// TestCamerasShareRuns: what several cameras show at a moment is looked at in one run
// where the model can, and each gives what it gives alone.
func TestCamerasShareRuns(t *testing.T) {
	seen := map[int][]vision.Evidence{}
	for _, share := range []int{1, 4} {
		l := sharing(t, share)
		var cameras []*Camera
		for n := range 4 {
			cameras = append(cameras, drawnCamera(t, standing(t), CameraConfig{ID: fmt.Sprint("cam", n)}))
		}
		r := plant(t, []*infer.Worker{l.Model}, triggered(t, l, cameras...))
		r.ready()
		r.eventually("what the worker has measured", func() bool {
			info, ok := l.Model.Info()
			return ok && (len(info.Shared) == 3) == (share == 4)
		})
		r.shareRuns() // as it does by itself within a second
		other := r.sched.Join(sched.StreamConfig{})
		r.eventually("a part that all cameras show at once", func() bool {
			busy, err := other.Take(t.Context(), sched.Ask{Model: r.sched.Model(costName(l.About)), Newest: func() (time.Time, bool) { return time.Now(), true }})
			if err != nil {
				t.Fatal(err)
			}
			answer := make(chan Answer, 1)
			go func() { answer <- r.trigger(Trigger{}) }()
			r.eventually("all pictures to wait", func() bool { return r.sched.Stats().Waiting == 4 || len(answer) == 1 })
			busy.Done(false)
			i := r.result(<-answer)
			seen[share] = i.Part.Defects
			return len(i.Part.Views) == 4 && len(i.Part.Defects) > 0
		})
		if n := r.sched.Stats().Shared; (n > 0) != (share == 4) {
			t.Errorf("with runs on %d frames %d turns were given together", share, n)
		}
		if st := l.Model.Stats(); st.Failed != 0 || st.Restarts != 0 {
			t.Errorf("%+v", st)
		}
	}
	if diff := cmp.Diff(seen[1], seen[4]); diff != "" {
		t.Errorf("each picture in a run of its own, and four in one:\n%s", diff)
	}
}
