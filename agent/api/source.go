package api

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/vision"
)

// Source is what the API asks of an agent. All methods may be called at any
// time from any goroutine.
type Source interface {
	// Now is the state of everything, cheap enough to be asked ten times a second.
	Now() Now
	// Health is what each reader of events asks every second: the warnings, and how
	// many results readers were too slow for.
	Health() (warnings []health.Raised, lost uint64)
	// Results are the newest results below q.Before that fit q, newest first.
	// More tells whether older ones were left out.
	Results(ctx context.Context, q Query) (results []Result, more bool, err error)
	// Since are at most limit results above number seq, oldest first.
	Since(ctx context.Context, seq uint64, limit int) ([]Result, error)
	// Subscribe gives each result as it is told, until ctx ends. A slow reader
	// loses some, which the source counts; it never holds anybody up.
	Subscribe(ctx context.Context) <-chan Result
	// Live waits for a picture of the station newer than number after, through the
	// camera of that name, "" for its first. The error is ErrNoStation, ErrNoCamera,
	// ErrEnded when no more will come, or ctx's.
	Live(ctx context.Context, station, camera string, after uint64) (*Shot, error)
	// Look waits for a picture of the camera newer than number after, without
	// marks. The error is as Live's.
	Look(ctx context.Context, camera string, after uint64) (*Shot, error)
	// Proof is the JPEG with which a fault of a camera's pictures was found, while
	// it holds.
	Proof(camera, fault string) ([]byte, bool)
	// Fire makes a camera with a software trigger take a picture. The error is
	// ErrNoCamera, or says for people why not.
	Fire(camera string) error
	// SetReference makes the camera's next picture the one against which it is seen
	// to have moved. The error is as Fire's.
	SetReference(ctx context.Context, camera string) error
	// Trigger inspects the part that is in place at a station. The answer comes by the
	// deadline. The error is ErrNoStation, ErrNoTrigger, ErrBadTrigger, or says
	// for people why not.
	Trigger(station string, t Trigger) (Answer, error)
	// Recipe tells which recipe of a station is active; ErrNoStation.
	Recipe(station string) (Recipes, error)
	// SetRecipe makes another one active. The error is ErrNoStation, ErrNoRecipe, or
	// says for people why not.
	SetRecipe(ctx context.Context, station, recipe string) (Recipes, error)
	// Model tells what a station inspects with; ErrNoStation.
	Model(station string) (StationModel, error)
	// SwapModel begins to swap another model into a station. The error is ErrNoStation,
	// ErrBadSwap, or says for people why not.
	SwapModel(station string, ask SwapAsk) (StationModel, error)
	// CancelSwap takes a swap back that isn't done; ErrNoStation, ErrNoSwap.
	CancelSwap(station string) error
	// Picture is that of a part of late, by the part's ID.
	Picture(part string) (PartPicture, bool)
	// Approve is an operator's OK for the bundle that a station waits with. The
	// error says for people why nothing was approved.
	Approve(station string) error
	// Install brings in bundles from a folder of this device, with the same
	// checks as those that the fleet sends. The error says for people why not.
	Install(ctx context.Context, folder string) error
	// Golden runs a bundle's archive on pictures that it holds and gives the golden
	// file. ErrNoGolden where it can't; other errors say for people why not.
	Golden(ctx context.Context, archive io.Reader, pictures []string) ([]byte, error)
	// RefusedPicture is a drawn picture of a refused bundle, by its name in
	// Failure.
	RefusedPicture(name string) ([]byte, bool)
}

// Errors of a Source.
var (
	ErrNoStation = errors.New("there is no such station")
	ErrNoCamera  = errors.New("there is no such camera")
	ErrEnded     = errors.New("the station gives no more pictures")
	ErrNoUpdates = errors.New("no station of this device follows a signed bundle: name one as bundle in the configuration")
)

// Query says which results are wanted. Zero values want all.
type Query struct {
	Before  uint64 // below this number; 0: from the newest
	Limit   int    // at most so many, more than 0
	Station string
	Label   string          // of the part, or of one of its defects
	Part    string          // its ID
	Trigger string          // ID of the trigger that asked for it
	Recipe  string          // that was active
	Camera  string          // that saw it
	Verdict *vision.Verdict // as it was told
}

// Fits reports whether a result is wanted, whatever its number.
func (q *Query) Fits(r *Result) bool {
	for _, w := range [...]struct{ want, has string }{
		{q.Station, r.Station}, {q.Part, r.ID}, {q.Trigger, r.Trigger}, {q.Recipe, r.Recipe},
	} {
		if w.want != "" && w.want != w.has {
			return false
		}
	}
	if q.Camera != "" && r.Camera != q.Camera && !slices.ContainsFunc(r.Views, func(v PartView) bool { return v.Camera == q.Camera }) {
		return false
	}
	if q.Verdict != nil && r.Answer().Verdict != *q.Verdict {
		return false
	}
	if q.Label == "" || r.Label == q.Label {
		return true
	}
	for _, e := range r.Evidence {
		if e.Label == q.Label {
			return true
		}
	}
	return false
}
