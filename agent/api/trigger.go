package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision"
)

// Errors of a Source about triggers and recipes.
var (
	ErrNoTrigger  = errors.New("the station takes no triggers: it inspects what its camera shows (mode: continuous)")
	ErrBadTrigger = errors.New("the trigger can't be taken")
	ErrNoRecipe   = errors.New("the station has no such recipe")
)

// Trigger asks a station for one inspection.
type Trigger struct {
	ID       string     `json:"trigger_id,omitempty" maxLength:"64" doc:"name of this inspection, the idempotency key: given again within the station's dedupe_window it gets the first answer again; left out, the device counts"`
	Part     string     `json:"part_id,omitempty" maxLength:"64" doc:"serial of the part; may come again, each trigger is a new inspection (attempt)"`
	Recipe   string     `json:"recipe,omitempty" maxLength:"64" doc:"the recipe that it is meant for; if another one is active the answer is NONE wrong_recipe"`
	Deadline float64    `json:"deadline_ms,omitempty" minimum:"1" maximum:"60000" doc:"by when the answer must be there, ms after the trigger; left out, the station's"`
	At       *time.Time `json:"at,omitempty" doc:"when the part was in place, if that is a little while ago; left out, now"`
}

// Answer is a trigger's verdict as the line is told it.
type Answer struct {
	Trigger   string         `json:"trigger_id" doc:"the trigger's, or the device's count"`
	Part      string         `json:"part_id,omitempty" doc:"as it was given"`
	Attempt   int            `json:"attempt" doc:"1 for the first inspection of the part"`
	Recipe    string         `json:"recipe,omitempty" doc:"that judged it"`
	Verdict   vision.Verdict `json:"verdict" enum:"PASS,FAIL,NONE" doc:"what to do with the part: NONE is no decision, which rejects"`
	Reason    string         `json:"reason" doc:"why" example:"ok"`
	Seq       uint64         `json:"seq,omitempty" doc:"number of its result; absent while it isn't on disk"`
	LatencyMS float64        `json:"latency_ms" doc:"trigger → answer, ms"`
	Repeated  bool           `json:"repeated,omitempty" doc:"the trigger had been given before: this is that one's answer"`
	FirstMS   float64        `json:"first_latency_ms,omitempty" doc:"trigger → answer when it was given first, ms; absent for one that wasn't given before"`
}

// Recipes tells what a station can be changed over to.
type Recipes struct {
	Recipe  string   `json:"recipe" doc:"the active one"`
	Recipes []string `json:"recipes" doc:"all, in the order of the configuration; a controller numbers them from 1"`
	After   uint64   `json:"after" doc:"the active recipe's results all have higher numbers; each result names its recipe"`
	TookMS  float64  `json:"took_ms,omitempty" doc:"how long the change took, ms"`
}

// addTriggers adds triggers and recipes.
func (s *Server) addTriggers(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "trigger-station", Method: http.MethodPost, Path: "/v1/stations/{station}/trigger", Summary: "Inspect the part that is in place", MaxBodyBytes: 8 << 10,
		Description: "For stations with mode: trigger. The answer comes by the deadline, always: NONE with its reason where there is no verdict " +
			"(late, no_frame, view_missing, no_part, stale, model_failed, overrun, overload, wrong_recipe, not_recorded, …). A client that hears nothing must reject the part.",
		Errors: []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, s.trigger)
	get(api, "get-recipe", "/v1/stations/{station}/recipe", "The recipes of a station", s.getRecipe)
	huma.Register(api, huma.Operation{
		OperationID: "put-recipe", Method: http.MethodPut, Path: "/v1/stations/{station}/recipe", Summary: "Change a station over to another recipe", MaxBodyBytes: 8 << 10,
		Description: "Between two parts. The answer is the echo: from then on the recipe judges alone. One that isn't kept loaded (preload) is loaded before.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, s.putRecipe)
}

type triggerInput struct {
	Station string   `path:"station" maxLength:"64" doc:"name of the station"`
	Body    *Trigger // may be left out: then the device counts
	answer  http.ResponseWriter
}

// Resolve notes where the answer goes, which may take its time.
func (in *triggerInput) Resolve(ctx huma.Context) []error {
	_, in.answer = humago.Unwrap(ctx)
	return nil
}

type triggerOutput struct{ Body Answer }

// triggerTime is the longest deadline, a trigger's own or its station's.
const triggerTime = time.Minute

func (s *Server) trigger(_ context.Context, in *triggerInput) (*triggerOutput, error) {
	web.Allow(in.answer, time.Now().Add(triggerTime))
	t := Trigger{}
	if in.Body != nil {
		t = *in.Body
	}
	a, err := s.source.Trigger(in.Station, t)
	if err != nil {
		return nil, s.lineError(in.Station, err)
	}
	return &triggerOutput{a}, nil
}

// lineError is what a Source says about triggers and recipes, as the interface tells it.
func (s *Server) lineError(station string, err error) error {
	switch {
	case errors.Is(err, ErrNoStation):
		return huma.Error404NotFound("there is no station " + strconv.Quote(station))
	case errors.Is(err, ErrNoRecipe), errors.Is(err, ErrBadTrigger):
		return huma.Error422UnprocessableEntity(err.Error())
	}
	return huma.Error409Conflict(err.Error())
}

type recipeOutput struct{ Body Recipes }

func (s *Server) getRecipe(_ context.Context, in *stationInput) (*recipeOutput, error) {
	r, err := s.source.Recipe(in.Station)
	if err != nil {
		return nil, s.lineError(in.Station, err)
	}
	return &recipeOutput{r}, nil
}

type putRecipeInput struct {
	Station string `path:"station" maxLength:"64" doc:"name of the station"`
	Body    struct {
		Recipe string `json:"recipe" minLength:"1" maxLength:"64" doc:"name of the recipe"`
	}
	answer http.ResponseWriter
}

// Resolve notes where the answer goes, which may take its time.
func (in *putRecipeInput) Resolve(ctx huma.Context) []error {
	_, in.answer = humago.Unwrap(ctx)
	return nil
}

// recipeTime is how long a change of recipe may take for a client: a model may have
// to be loaded.
const recipeTime = 2 * time.Minute

func (s *Server) putRecipe(ctx context.Context, in *putRecipeInput) (*recipeOutput, error) {
	web.Allow(in.answer, time.Now().Add(recipeTime))
	ctx, cancel := context.WithTimeout(ctx, recipeTime)
	defer cancel()
	r, err := s.source.SetRecipe(ctx, in.Station, in.Body.Recipe)
	if err != nil {
		return nil, s.lineError(in.Station, err)
	}
	return &recipeOutput{r}, nil
}

// Schedule is how a station's pictures come to their turn.
type Schedule struct {
	Criticality  string  `json:"criticality" enum:"critical,normal,best_effort" doc:"whose pictures go first"`
	MaxAgeMS     float64 `json:"max_age_ms,omitempty" doc:"how old a picture may be at its result, ms; absent for any"`
	MinRate      float64 `json:"min_rate_hz,omitempty" doc:"pictures a second that it needs, of each camera; absent for any"`
	Turns        uint64  `json:"turns" doc:"pictures that had their turn"`
	InTime       uint64  `json:"in_time" doc:"of them, those whose result came in time"`
	Late         uint64  `json:"late" doc:"of them, those whose result came late and doesn't count"`
	BusyMS       float64 `json:"busy_ms" doc:"how long the model ran for its turns, ms"`
	InTimeMS     float64 `json:"busy_in_time_ms" doc:"of that, for results that came in time, ms"`
	RefusedLate  uint64  `json:"refused_late" doc:"pictures that weren't inspected because their deadline couldn't be met"`
	RefusedStale uint64  `json:"refused_stale" doc:"pictures that weren't inspected because they would have been too old"`
}

// Degradation is how far a station is turned down.
type Degradation struct {
	Step    string     `json:"step" enum:"full,slower,smaller,none" doc:"full; slower: fewer pictures; smaller: the smaller model looks; none: every part gets NONE overload"`
	Since   *time.Time `json:"since,omitempty" doc:"since when; absent if it never was at another step"`
	Why     string     `json:"why,omitempty" doc:"for people; absent at full"`
	Slower  uint64     `json:"entered_slower" doc:"how often it came to this step"`
	Smaller uint64     `json:"entered_smaller" doc:"how often it came to this step"`
	None    uint64     `json:"entered_none" doc:"how often it came to this step"`
}

// Door is a way for a line's controller to a station.
type Door struct {
	Protocol    string  `json:"protocol" enum:"ascii,modbus,gpio"`
	Station     string  `json:"station" doc:"the station behind it"`
	Address     string  `json:"address" doc:"where it is: its address, or its chip"`
	Open        bool    `json:"open" doc:"whether it can be used"`
	Fault       string  `json:"fault,omitempty" doc:"why it can't"`
	Client      string  `json:"client,omitempty" doc:"address of the controller that is in"`
	Alive       bool    `json:"heartbeat" doc:"whether the heartbeat goes on"`
	HeartbeatMS float64 `json:"heartbeat_age_ms" doc:"since the last beat, ms; negative before the first"`
	Triggers    uint64  `json:"triggers" doc:"that were taken"`
	Missed      uint64  `json:"missed" doc:"that were not: the station wasn't ready"`
	Overruns    uint64  `json:"overruns" doc:"results that found the queue full"`
	Refused     uint64  `json:"refused" doc:"connections that were turned away"`
	Malformed   uint64  `json:"malformed" doc:"requests that were no such thing"`
}
