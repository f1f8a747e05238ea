package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/board"
	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision"
)

// memory is a Source that keeps everything in memory: results are told with
// tell, pictures shown with show.
type memory struct {
	health health.Set

	mu       sync.Mutex // protects all below
	version  string
	began    time.Time
	stations []Station
	cameras  []Camera
	asked    []string // of cameras
	results  []Result // by number, from 1
	pictures map[string][]byte
	shows    Box // what pictures show of their frames
	subs     map[chan Result]struct{}
	lost     uint64
	recorder Recorder
	journal  Journal
	fleet    *Fleet
	board    *board.Reading
	models   []ModelUse
	shot     *Shot
	turn     chan struct{} // closed when shot changes
	broken   error         // of Results and Since
	room     int           // of a subscriber

	triggered           []Trigger
	doors               []Door
	recipe              string
	approved, installed []string
	refusal             error         // of Approve and Install
	takes               time.Duration // each trigger, recipe and installation
	looked              int           // how often Now was asked
}

func newMemory(stations ...Station) *memory {
	m := &memory{
		version: "1.2.3", began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), stations: stations,
		pictures: map[string][]byte{}, subs: map[chan Result]struct{}{}, turn: make(chan struct{}), room: 256,
	}
	for _, s := range stations {
		m.cameras = append(m.cameras, seen(s.ID))
	}
	return m
}

// add adds a good station with its camera.
func (m *memory) add(id string) {
	m.stations = append(m.stations, good(id))
	m.cameras = append(m.cameras, seen(id))
}

func (m *memory) Now() Now {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looked++
	return Now{
		Version: m.version, Began: m.began, Stations: slices.Clone(m.stations), Cameras: slices.Clone(m.cameras), Health: m.health.List(), Recorder: m.recorder, Lost: m.lost, Journal: m.journal, Fleet: m.fleet, Board: m.board, Doors: slices.Clone(m.doors), Models: slices.Clone(m.models),
	}
}

func (m *memory) Health() ([]health.Raised, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health.List(), m.lost
}

// work takes its time, unless who asked has gone.
func (m *memory) work(ctx context.Context) error {
	select {
	case <-time.After(m.takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) Results(_ context.Context, q Query) (found []Result, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.results) - 1; i >= 0; i-- {
		r := m.results[i]
		if q.Before != 0 && r.Seq >= q.Before || !q.Fits(&r) {
			continue
		}
		if len(found) == q.Limit {
			return found, true, m.broken
		}
		found = append(found, r)
	}
	return found, false, m.broken
}

func (m *memory) Since(_ context.Context, seq uint64, limit int) ([]Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := min(int(min(seq, math.MaxInt32)), len(m.results))
	return slices.Clone(m.results[from:min(from+limit, len(m.results))]), m.broken
}

func (m *memory) Subscribe(ctx context.Context) <-chan Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := make(chan Result, m.room)
	m.subs[c] = struct{}{}
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, c)
		close(c)
	})
	return c
}

func (m *memory) Live(ctx context.Context, id, _ string, after uint64) (*Shot, error) {
	for {
		m.mu.Lock()
		shot, turn, known := m.shot, m.turn, station(m.stations, id) != nil
		m.mu.Unlock()
		switch {
		case !known:
			return nil, ErrNoStation
		case shot != nil && shot.Seq > after:
			return shot, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-turn:
		}
	}
}

func (m *memory) Look(ctx context.Context, id string, after uint64) (*Shot, error) {
	if !slices.ContainsFunc(m.Now().Cameras, func(c Camera) bool { return c.ID == id }) {
		return nil, ErrNoCamera
	}
	return m.Live(ctx, m.Now().Stations[0].ID, "", after)
}

func (m *memory) Proof(camera, fault string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.pictures[camera+"/"+fault]
	return b, ok
}

func (m *memory) Fire(camera string) error { return m.act("fire", camera) }

func (m *memory) SetReference(_ context.Context, camera string) error {
	return m.act("reference", camera)
}

// act notes what was asked of a camera.
func (m *memory) act(what, camera string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.cameras, func(c Camera) bool { return c.ID == camera }) {
		return ErrNoCamera
	}
	m.asked = append(m.asked, what+" "+camera)
	return m.broken
}

// watch changes the first camera.
func (m *memory) watch(change func(*Camera)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.cameras[0])
}

func (m *memory) Picture(id string) (PartPicture, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.pictures[id]
	return PartPicture{JPEG: b, Shows: m.shows}, ok
}

// tell records a result, unless it is one that was told without, and lets
// everybody hear it.
func (m *memory) tell(r Result) Result { return m.told(r, true) }

func (m *memory) told(r Result, recorded bool) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	if recorded {
		r.Seq = uint64(len(m.results) + 1)
		m.results = append(m.results, r)
	}
	if st := station(m.stations, r.Station); st != nil {
		st.Recent = append([]Result{r}, st.Recent[:min(len(st.Recent), 11)]...)
	}
	for c := range m.subs {
		select {
		case c <- r:
		default:
			m.lost++
		}
	}
	return r
}

// show makes a shot the newest one.
func (m *memory) show(s *Shot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shot = s
	close(m.turn)
	m.turn = make(chan struct{})
}

func (m *memory) set(change func(*Station)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.stations[0])
}

func (m *memory) subscribers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.subs)
}

// good is a station in the middle of an hour.
func good(id string) Station {
	return Station{
		ID: id, Line: "A", State: Inspecting, Signed: true,
		Views: []View{{Camera: id, Inferred: 107400, Overwritten: 590}},
		Model: Model{Name: "drawn-parts", Version: "3", Digest: "9f2cab34de00112233445566778899aabbccddeeff00112233445566778899e1", Family: "yolox", P50: 6.1, P99: 9.4},
		Rule:  Rule{Name: "threshold:defect>0.5", Digest: "1b77"},
		Mode:  "continuous", Ready: true, Schedule: Schedule{Criticality: "normal"}, Degraded: Degradation{Step: "full"}, DeadlineMS: 120, Unrecorded: "reject",
		Counts: Counts{Pass: 12000, Fail: 130, None: 9},
		Hour: Hour{Counts: Counts{Pass: 2381, Fail: 27, None: 4}, Yield: &Yield{0.98715, 0.98183, 0.99092, 2412},
			PerMinute: 42.3, P50: 38, P99: 61.4},
	}
}

// seen is the camera of good.
func seen(id string) Camera {
	taken := time.Now()
	return Camera{
		ID: id, Source: "rtsp://***@192.0.2.10/stream", Stations: []string{id}, State: "streaming", Rate: 30.2, Announced: 30, Codec: "h264",
		Timing: "arrived", Width: 960, Height: 540, LastFrame: &taken, Captured: 108000, Dropped: Dropped{Late: 7, NoSlot: 1, Unreadable: 2},
		Restarts: 1, Memory: 61e6, Lies: []Lie{},
	}
}

// result number n of a run in which every fifth part is bad and each tenth gets no decision.
func result(station string, n int, at time.Time) Result {
	r := Result{
		ID: fmt.Sprintf("%s-%d", station, 4700+n), Station: station, Line: "A", Label: "cap", Verdict: vision.Pass, Reason: "ok",
		Score: 0.98, Box: Box{10, 20, 96, 96}, Frames: 12, FirstFrame: uint64(n * 30), LastFrame: uint64(n*30 + 11), Attempt: 1,
		FirstCaptured: at.Add(-600 * time.Millisecond), LastCaptured: at.Add(-60 * time.Millisecond), Decided: at, LatencyMS: 60,
		Model:        Version{Name: "drawn-parts", Digest: "9f2cab34de00112233445566778899aabbccddeeff00112233445566778899e1"},
		Rule:         Version{Name: "threshold:defect>0.5", Digest: "1b77"},
		Measurements: []Measurement{{Name: "defect", Value: 0.12, Limit: 0.5}},
	}
	switch {
	case n%10 == 7:
		r.Told = &Told{Verdict: vision.None, Reason: vision.ReasonNotRecorded}
	case n%5 == 4:
		r.Verdict, r.Reason = vision.Fail, "scratch 0.91 > 0.5"
		r.Evidence = []Evidence{{Label: "scratch", Score: 0.91, Frames: 9, Box: Box{40, 50, 30, 12}}}
		r.Measurements = []Measurement{{Name: "scratch", Value: 0.91, Limit: 0.5}}
	}
	return r
}

// belt paints parts on a belt, as a camera would see them: a machined cap at
// each centre, with a scratch where bad says so.
func belt(t testing.TB, w, h int, radius float64, centres [][2]float64, bad []bool) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			shade := 52 + 18*math.Sin(math.Pi*float64(y)/float64(h)) + 3*math.Sin(float64(x*7+y*3))
			for i, c := range centres {
				dx, dy := float64(x)-c[0], float64(y)-c[1]
				if v, on := cap1(dx, dy, radius, bad[i]); on {
					shade = v
				}
			}
			v := uint8(max(0, min(255, shade)))
			m.SetRGBA(x, y, color.RGBA{v, uint8(min(255, float64(v)*1.03)), uint8(min(255, float64(v)*1.08)), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// cap1 is the brightness of a cap at a place from its centre.
func cap1(dx, dy, radius float64, bad bool) (float64, bool) {
	d := math.Hypot(dx, dy) / radius
	if d > 1.06 {
		return 0, false
	}
	if d > 1 {
		return 30, true // its shadow
	}
	v := 205 - 45*d - 18*(dx+dy)/radius
	if d > 0.86 && math.Mod(math.Atan2(dy, dx)+math.Pi, 0.196) < 0.07 {
		v -= 38 // knurling
	}
	if d > 0.7 && d < 0.72 {
		v -= 30
	}
	if arc := math.Abs(math.Hypot(dx, dy-0.5*radius) - 0.5*radius); bad && arc < 0.02*radius && dy < 0.15*radius && math.Abs(dx) < 0.3*radius {
		v = 70
	}
	return v, true
}

func (m *memory) Approve(station string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusal == nil {
		m.approved = append(m.approved, station)
	}
	return m.refusal
}

func (m *memory) Install(ctx context.Context, folder string) error {
	if err := m.work(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusal == nil {
		m.installed = append(m.installed, folder)
	}
	return m.refusal
}

// Golden gives back what was sent.
func (m *memory) Golden(_ context.Context, archive io.Reader, pictures []string) ([]byte, error) {
	m.mu.Lock()
	refusal := m.refusal
	m.mu.Unlock()
	if refusal != nil {
		return nil, refusal
	}
	b, err := io.ReadAll(archive)
	return append([]byte(strings.Join(pictures, " ")+":"), b...), err
}

func (m *memory) RefusedPicture(name string) ([]byte, bool) {
	p, ok := m.Picture("refused " + name)
	return p.JPEG, ok
}

// Trigger answers as the state says, and remembers what was asked.
func (m *memory) Trigger(station string, t Trigger) (Answer, error) {
	<-time.After(m.takes)
	m.mu.Lock()
	defer m.mu.Unlock()
	if station != "line" {
		return Answer{}, ErrNoTrigger
	}
	if t.ID == "a\nb" {
		return Answer{}, ErrBadTrigger
	}
	m.triggered = append(m.triggered, t)
	return Answer{Trigger: t.ID, Part: t.Part, Attempt: 1, Recipe: m.recipe, Verdict: vision.Pass, Reason: "ok", Seq: 7, LatencyMS: 31.5}, nil
}

func (m *memory) Recipe(string) (Recipes, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Recipes{Recipe: m.recipe, Recipes: []string{"cap-blue", "cap-red"}}, nil
}

func (m *memory) SetRecipe(ctx context.Context, _, recipe string) (Recipes, error) {
	if err := m.work(ctx); err != nil {
		return Recipes{}, err
	}
	if recipe != "cap-blue" && recipe != "cap-red" {
		return Recipes{}, ErrNoRecipe
	}
	m.mu.Lock()
	m.recipe = recipe
	m.mu.Unlock()
	return m.Recipe("")
}

func (m *memory) Model(station string) (StationModel, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.modelLocked(station)
}

func (m *memory) modelLocked(id string) (StationModel, error) {
	st := station(m.stations, id)
	if st == nil {
		return StationModel{}, ErrNoStation
	}
	return StationModel{Model: st.Model, Configured: "/srv/caps", Source: "/srv/caps", Swap: st.Swap}, nil
}

func (m *memory) SwapModel(id string, ask SwapAsk) (StationModel, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch st := station(m.stations, id); {
	case st == nil:
	case ask.Model == "not/absolute":
		return StationModel{}, fmt.Errorf("%w: not/absolute: give the absolute path", ErrBadSwap)
	case st.Swap != nil && !st.Swap.Phase.Over():
		return StationModel{}, errors.New("another one is being swapped in")
	default:
		st.Swap = &Swap{Model: ask.Model, Phase: SwapLoading}
	}
	return m.modelLocked(id)
}

func (m *memory) CancelSwap(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := station(m.stations, id)
	switch {
	case st == nil:
		return ErrNoStation
	case st.Swap == nil || st.Swap.Phase.Over():
		return ErrNoSwap
	}
	st.Swap = &Swap{Model: st.Swap.Model, Phase: SwapCancelled, Text: "it was taken back"}
	return nil
}
