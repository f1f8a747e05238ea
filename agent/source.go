package agent

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/agent/api"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/journal"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/sync/wire/rest"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/quality"
)

// liveFrames is over how many of the newest frames the page tells quantiles.
const liveFrames = 1024

// staleAfter is when a station whose results have stopped coming is stalled.
const staleAfter = 2 * time.Second

// Now is the state of everything (api.Source).
func (a *Agent) Now() api.Now {
	now := time.Now()
	out := api.Now{Version: a.cfg.Version, Began: a.began, Health: a.health.List(), Lost: a.events.missed(), Board: a.Reading(), Guests: GuestsOf(a.guests)}
	r := a.recorder.Stats()
	out.Recorder = api.Recorder{Late: r.Late, Owed: r.Owed, Lost: r.Lost}
	j := a.cfg.Journal.Stats()
	out.Journal = api.Journal{Epoch: a.cfg.Journal.Epoch(), Last: j.Last, Bytes: j.Bytes, Dropped: j.Dropped}
	out.Fleet, out.Doors = a.fleet(), a.entrances()
	updates := a.updates()
	for _, s := range a.stations {
		st := a.station(s, now)
		st.Update, st.Swap = updates[st.ID], a.swapping(st.ID).Swap
		out.Stations = append(out.Stations, st)
	}
	for _, c := range a.cameras {
		out.Cameras = append(out.Cameras, a.camera(c))
	}
	out.Models = a.modelUses()
	return out
}

// Health is what readers of events look at (api.Source).
func (a *Agent) Health() (warnings []health.Raised, lost uint64) {
	return a.health.List(), a.events.missed()
}

func (a *Agent) station(s *Station, now time.Time) api.Station {
	f, l := s.figures(liveFrames), s.loadout()
	out := api.Station{
		ID: s.cfg.ID, Line: s.cfg.Line, Views: s.stationViews(),
		Model:  modelNow(&l, &f),
		Signed: l.unsigned() == "", Bundle: l.Follows,
		AgeP50: api.MS(f.AgeP50), AgeP99: api.MS(f.AgeP99), DeadlineMS: api.MS(s.cfg.Deadline), Unrecorded: "reject",
		Counts: api.Counts{Pass: f.Parts[vision.Pass], Fail: f.Parts[vision.Fail], None: f.Parts[vision.None]},
	}
	if s.cfg.Allow {
		out.Unrecorded = "allow"
	}
	out.Cascade = s.secondLooks(l.Cascade)
	if l.Rule != nil {
		out.Rule = api.Rule{Name: l.Rule.Name(), Digest: l.Rule.Digest()}
	}
	hour, recently := s.recent(now)
	out.Hour = hourNow(hour)
	for _, i := range recently {
		out.Recent = append(out.Recent, result(i))
	}
	if len(out.Recent) > 0 {
		out.Last = &out.Recent[0]
	}
	s.line(&out)
	out.State, out.StateText = s.state(&f, now)
	return out
}

// modelNow tells of what looks at the pictures.
func modelNow(l *Loadout, f *Figures) api.Model {
	m := api.Model{
		Name: l.About.Name, Version: l.About.Version, Digest: l.About.Digest, Family: l.About.Family,
		P50: api.MS(f.ModelP50), P99: api.MS(f.ModelP99),
	}
	if l.Model != nil {
		m.Restarts = l.Model.Stats().Restarts
		m.Computes, m.Building = computes(l.Model), buildingOf(l.Model)
	}
	return m
}

// stationViews tells of each camera of a station what became of its pictures.
func (s *Station) stationViews() []api.View {
	out := make([]api.View, 0, len(s.views))
	for _, v := range s.views {
		over := v.feed.Stats().Overwritten
		s.mu.Lock()
		out = append(out, api.View{Camera: s.cameraID(v.camera), Inferred: v.inferred, Unchanged: v.unchanged, Overwritten: over, Failed: v.lost, Late: v.late})
		s.mu.Unlock()
	}
	return out
}

// cameraID is the camera's name; one without is the station's own.
func (s *Station) cameraID(c *Camera) string { return cmp.Or(c.cfg.ID, s.cfg.ID) }

// camera tells how a camera is doing.
func (a *Agent) camera(c *Camera) api.Camera {
	st := c.cfg.Source.Stats()
	out := api.Camera{
		ID: a.cameraID(c), Source: c.cfg.Address, State: string(st.State), Error: st.LastError, Rate: st.Rate, Announced: st.AnnouncedRate,
		Codec: st.Codec, Timing: st.Timing.String(), Width: st.Width, Height: st.Height, Captured: st.Captured, Restarts: st.Restarts,
		Memory: st.Memory, Reference: c.monitor.Reference() != nil, Triggers: c.cfg.Source.Triggers(), Lies: []api.Lie{},
		Dropped: api.Dropped{
			NoSlot: st.Dropped.NoSlot, Late: st.Dropped.Late, Unreadable: st.Dropped.Unreadable,
			Incomplete: st.Dropped.Incomplete, Stale: st.Dropped.Stale,
		},
	}
	for _, s := range a.stations {
		if slices.Contains(s.cfg.Cameras, c) {
			out.Stations = append(out.Stations, s.cfg.ID)
		}
	}
	if !st.LastFrame.IsZero() {
		out.LastFrame = &st.LastFrame
	}
	if !st.LastFault.IsZero() {
		out.LastFault = &st.LastFault
	}
	for _, f := range c.findings() {
		lie := api.Lie{Fault: f.Fault.String(), Effect: "warn", Since: f.Since, Detail: f.Detail}
		if c.cfg.Checks[f.Fault] == Rejects {
			lie.Effect = "none"
		}
		out.Lies = append(out.Lies, lie)
	}
	return out
}

// cameraID is how the API calls a camera: one without a name has that of its
// station.
func (a *Agent) cameraID(c *Camera) string {
	for _, s := range a.stations {
		if slices.Contains(s.cfg.Cameras, c) {
			return s.cameraID(c)
		}
	}
	return c.cfg.ID
}

// seek gives the camera of that name, nil if there is none.
func (a *Agent) seek(id string) *Camera {
	for _, c := range a.cameras {
		if a.cameraID(c) == id {
			return c
		}
	}
	return nil
}

func hourNow(h Hour) api.Hour {
	out := api.Hour{
		Counts:    api.Counts{Pass: uint64(h.Pass), Fail: uint64(h.Fail), None: uint64(h.None)},
		PerMinute: h.PerMinute, P50: api.MS(h.P50), P99: api.MS(h.P99),
	}
	if h.Yield.Parts > 0 {
		out.Yield = &api.Yield{Value: h.Yield.Value, Low: h.Yield.Low, High: h.Yield.High, Parts: uint64(h.Yield.Parts)}
	}
	return out
}

// state says in a word and for people how the station is doing.
func (s *Station) state(f *Figures, now time.Time) (api.State, string) {
	s.mu.Lock()
	ended, failure, armed := s.ended, s.failure, s.lane.Model != nil
	var b infer.Building
	builds := false
	if armed {
		b, builds = s.lane.Model.Building()
		if _, ready := s.lane.Model.Info(); ready {
			builds = false // beside what serves
		}
	}
	s.mu.Unlock()
	away := s.awayText()
	switch {
	case failure != nil:
		return api.Failed, failure.Error()
	case ended:
		return api.Ended, "the source is over"
	case !armed:
		return api.Starting, "waiting for its first bundle"
	case builds:
		return api.Starting, b.String()
	case away != "":
		return api.Stalled, away
	case s.triggered():
		return s.readiness()
	case f.Inferred == 0:
		return api.Starting, "waiting for the first picture"
	case !s.waits() && !s.triggered() && now.Sub(f.Last) > staleAfter:
		return api.Stalled, "no picture was inspected for " + now.Sub(f.Last).Truncate(time.Second).String()
	}
	return api.Inspecting, ""
}

// readiness is the state of a station that waits for triggers.
func (s *Station) readiness() (api.State, string) {
	if ok, why := s.Ready(); !ok {
		return api.Starting, "not ready for triggers: " + why
	}
	return api.Inspecting, ""
}

// awayText says which camera gives nothing, "" if all do.
func (s *Station) awayText() string {
	for _, v := range s.views {
		st, name := v.camera.cfg.Source.Stats(), ""
		if len(s.views) > 1 {
			name = s.cameraID(v.camera) + ": "
		}
		switch st.State {
		case capture.Failed, capture.Refused:
			return name + st.LastError
		case capture.Silent:
			return name + "the camera sends nothing"
		}
	}
	return ""
}

// waits tells whether a camera gives pictures only when somebody wants one.
func (s *Station) waits() bool {
	return slices.ContainsFunc(s.views, func(v *view) bool { return v.camera.cfg.Source.Patient() })
}

// recent is the last hour and the newest verdicts, newest first.
func (s *Station) recent(now time.Time) (Hour, []*Inspection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.hour(now), slices.Clone(s.recently)
}

// result is an inspection as the API tells it.
func result(i *Inspection) api.Result {
	r := i.message(nil)
	out := rest.FromWire(i.Seq, r)
	if i.Told.Verdict != i.Decision.Verdict || i.Told.Reason != i.Decision.Reason {
		out.Told = &api.Told{Verdict: i.Told.Verdict, Reason: i.Told.Reason}
	}
	return out
}

// fromRow is a journal's row as the API tells it, false for one that is no result.
func fromRow(row journal.Row) (api.Result, bool) {
	rec, err := wire.Decode(row.Body)
	if err != nil || rec.GetResult() == nil {
		return api.Result{}, false
	}
	out := rest.FromWire(row.Seq, rec.GetResult())
	if row.Amend != nil {
		if amend, err := wire.Decode(row.Amend); err == nil && amend.GetTold() != nil {
			t := amend.GetTold().GetAnswer()
			out.Told = &api.Told{Verdict: t.GetVerdict().Vision(), Reason: t.GetReason()}
		}
	}
	return out, true
}

// queryPage is how many rows are looked at between two looks at the context.
const queryPage = 500

// Results are the newest results that fit (api.Source).
func (a *Agent) Results(ctx context.Context, q api.Query) (out []api.Result, more bool, err error) {
	before := q.Before
	for {
		rows, rest, err := a.cfg.Journal.Query(before, queryPage, isResult)
		if err != nil {
			return nil, false, err
		}
		for n, row := range rows {
			before = row.Seq
			r, ok := fromRow(row)
			if !ok || !q.Fits(&r) {
				continue
			}
			if out = append(out, r); len(out) == q.Limit {
				return out, rest || n < len(rows)-1, nil
			}
		}
		if !rest || ctx.Err() != nil {
			return out, false, ctx.Err()
		}
	}
}

func isResult(_ uint64, body []byte) bool {
	rec, err := wire.Decode(body)
	return err == nil && rec.GetResult() != nil
}

// Since are at most limit results above seq, oldest first (api.Source).
func (a *Agent) Since(ctx context.Context, seq uint64, limit int) ([]api.Result, error) {
	var out []api.Result
	for before := uint64(math.MaxUint64); ; {
		rows, more, err := a.cfg.Journal.Query(before, queryPage, isResult)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if before = row.Seq; row.Seq <= seq {
				more = false
				break
			}
			if r, ok := fromRow(row); ok {
				out = append(out, r)
			}
		}
		if len(out) > 2*limit { // the oldest are wanted
			out = slices.Delete(out, 0, len(out)-limit)
		}
		if !more || ctx.Err() != nil {
			slices.Reverse(out)
			return out[:min(limit, len(out))], ctx.Err()
		}
	}
}

// Subscribe gives each result as it is told (api.Source).
func (a *Agent) Subscribe(ctx context.Context) <-chan api.Result {
	in := a.events.subscribe(ctx)
	out := make(chan api.Result)
	go func() {
		defer close(out)
		for i := range in {
			select {
			case out <- result(i):
			case <-ctx.Done():
			}
		}
	}()
	return out
}

// Live waits for a newer picture of a station, through the camera of that name or
// its first (api.Source).
func (a *Agent) Live(ctx context.Context, station, camera string, after uint64) (*api.Shot, error) {
	s := a.find(station)
	if s == nil {
		return nil, api.ErrNoStation
	}
	n := slices.IndexFunc(s.views, func(v *view) bool { return camera == "" || s.cameraID(v.camera) == camera })
	if n < 0 {
		return nil, api.ErrNoCamera
	}
	shot, err := s.views[n].screen.next(ctx, after)
	if errors.Is(err, errEnded) {
		return nil, api.ErrEnded
	}
	if err != nil {
		return nil, err
	}
	out := &api.Shot{Seq: shot.Seq, JPEG: shot.JPEG, Width: shot.Width, Height: shot.Height}
	for _, p := range shot.Parts {
		out.Marks.Parts = append(out.Marks.Parts, api.Mark{
			ID: p.ID, Label: p.Label, Score: p.Score, Box: api.NewBox(p.Box), Suspect: suspect(p),
		})
	}
	roles := s.loadout().Track.Roles
	for _, d := range shot.Detections {
		if roles[d.Label] == vision.DefectRole && d.Score >= suspectScore {
			out.Marks.Defects = append(out.Marks.Defects, api.Mark{Label: d.Label, Score: d.Score, Box: api.NewBox(d.Box), Outlines: d.Outlines(markPoints)})
		}
		if len(out.Marks.Defects) == mostMarks {
			break
		}
	}
	return out, nil
}

// Bounds of what is drawn over a live picture: it goes in a header.
const (
	mostMarks  = 100
	markPoints = 32 // around one defect
)

// suspectScore is from when on the live picture marks a defect. The rule
// alone decides; this is only what a person is shown.
const suspectScore = 0.5

func suspect(p vision.Part) bool {
	return slices.ContainsFunc(p.Defects, func(e vision.Evidence) bool { return e.Score >= suspectScore })
}

// Look waits for a newer picture of a camera (api.Source).
func (a *Agent) Look(ctx context.Context, camera string, after uint64) (*api.Shot, error) {
	c := a.seek(camera)
	if c == nil {
		return nil, api.ErrNoCamera
	}
	screen := c.live
	if c.feed == nil { // then the station's eyes are the only ones
		for _, s := range a.stations {
			if n := slices.Index(s.cfg.Cameras, c); n >= 0 {
				screen = s.views[n].screen
			}
		}
	}
	shot, err := screen.next(ctx, after)
	if errors.Is(err, errEnded) {
		return nil, api.ErrEnded
	}
	if err != nil {
		return nil, err
	}
	return &api.Shot{Seq: shot.Seq, JPEG: shot.JPEG, Width: shot.Width, Height: shot.Height}, nil
}

// Proof is the picture with which a camera's fault was found (api.Source).
func (a *Agent) Proof(camera, fault string) ([]byte, bool) {
	c := a.seek(camera)
	f, known := quality.ParseFault(fault)
	if c == nil || !known {
		return nil, false
	}
	return c.proof(f)
}

// Fire makes a camera with a software trigger take a picture (api.Source).
func (a *Agent) Fire(camera string) error {
	c := a.seek(camera)
	if c == nil {
		return api.ErrNoCamera
	}
	p := c.queue() // not between a trigger and its picture
	defer p.leave()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if p.wait(ctx) != nil {
		return errors.New("the camera is taking pictures for triggers")
	}
	_, err := c.shoot(false) // triggers know that a picture is on its way that isn't theirs
	return err
}

// SetReference makes a camera's next picture its reference (api.Source).
func (a *Agent) SetReference(ctx context.Context, camera string) error {
	c := a.seek(camera)
	if c == nil {
		return api.ErrNoCamera
	}
	return c.SetReference(ctx)
}

// Picture is the JPEG of a part of late (api.Source).
func (a *Agent) Picture(part string) (api.PartPicture, bool) { return a.thumbs.get(part) }
