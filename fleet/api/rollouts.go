package api

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
)

// addRollouts adds the operations on rollouts.
func (s *Server) addRollouts(api huma.API) {
	operation(api, "GET", "list-rollouts", "/v1/rollouts", "The rollouts, newest first, without their devices", s.listRollouts)
	operation(api, "GET", "get-rollout", "/v1/rollouts/{id}", "One rollout with its devices and its history", s.getRollout)
	operation(api, "POST", "start-rollout", "/v1/rollouts", "Roll a signed bundle out to a group", s.startRollout)
	operation(api, "POST", "pause-rollout", "/v1/rollouts/{id}/pause", "Send nothing new; devices go on with what they were told", s.pauseRollout)
	operation(api, "POST", "resume-rollout", "/v1/rollouts/{id}/resume", "Go on with a paused or halted rollout", s.resumeRollout)
	operation(api, "POST", "abort-rollout", "/v1/rollouts/{id}/abort", "End a rollout; devices that run the bundle keep it", s.abortRollout)
	operation(api, "POST", "roll-back-rollout", "/v1/rollouts/{id}/rollback", "Have all devices go back to what ran before", s.rollbackRollout)
}

// Rollout is a bundle on its way to a group of devices.
type Rollout struct {
	ID         string            `json:"id"`
	Bundle     string            `json:"bundle"`
	Version    string            `json:"version"`
	Digest     string            `json:"digest" doc:"SHA-256 of the bundle's archive, hex"`
	Group      string            `json:"group" doc:"* for all devices"`
	State      string            `json:"state" enum:"running,paused,succeeded,halted,aborted,rolling_back,rolled_back"`
	Reason     string            `json:"reason" doc:"what it waits for, or why it stands, for people"`
	By         string            `json:"by" doc:"user who began it"`
	Created    time.Time         `json:"created"`
	Ended      *time.Time        `json:"ended,omitempty" doc:"absent while the fleet does something about it"`
	Wave       int               `json:"wave" doc:"the open one, from 1"`
	Waves      []Wave            `json:"waves"`
	Conditions RolloutConditions `json:"conditions"`
	Proven     int               `json:"devices_running" doc:"devices that have proved that they run it, unmeasured ones included"`
	Unmeasured int               `json:"devices_unmeasured" doc:"of those, devices on whose provider its golden pictures, though they came out right, are no proof"`
	Devices    []RolloutDevice   `json:"devices,omitempty" doc:"by wave and id; absent in lists"`
	Events     []RolloutEvent    `json:"events,omitempty" doc:"newest first, the last 200; absent in lists"`
}

// Wave counts the devices of one wave. Those in none of the counts are at work.
type Wave struct {
	Size       int `json:"size"`
	Proven     int `json:"proven" doc:"have proved that they run it, unmeasured ones included"`
	Unmeasured int `json:"unmeasured" doc:"of those, devices on whose provider its golden pictures, though they came out right, are no proof"`
	Running    int `json:"running" doc:"run it, and haven't proved it"`
	Failed     int `json:"failed" doc:"refused it, rolled it back, took too long, or whose proof doesn't hold"`
	Silent     int `json:"silent"`
	Waiting    int `json:"waiting" doc:"for an operator on the device, or its window"`
	Away       int `json:"away" doc:"not connected, and not yet silent"`
	Planned    int `json:"planned" doc:"the wave isn't open"`
	Finished   int `json:"finished" doc:"went back, or were cancelled"`
	Out        int `json:"out" doc:"not counted: revoked, or without a station that follows the bundle"`
}

// RolloutConditions say when a wave is done, and when that can't be.
type RolloutConditions struct {
	Verdicts      int    `json:"verdicts,omitempty" minimum:"0" maximum:"64" doc:"that each station must have told by the bundle; 0 for 20"`
	Probation     int64  `json:"probation_ms,omitempty" minimum:"0" doc:"for which a device watches the bundle; 0 for the device's own"`
	Timeout       int64  `json:"timeout_ms,omitempty" minimum:"0" doc:"for which a device may be connected and not done, waiting for people left out; 0 for an hour"`
	Silence       int64  `json:"silence_ms,omitempty" minimum:"0" doc:"after which a device that can't be reached is silent; 0 for a day"`
	Success       int    `json:"success_percent,omitempty" minimum:"0" maximum:"100" doc:"of a wave's devices, those that failed or are silent left out, that must have proved; 0 for 100"`
	MaxFailures   string `json:"max_failures,omitempty" maxLength:"8" doc:"devices, or a share as 5%; more halt the rollout"`
	MaxSilent     string `json:"max_silent,omitempty" maxLength:"8" doc:"the same for silent ones"`
	WithoutGolden bool   `json:"without_golden,omitempty" doc:"a bundle without golden pictures may be rolled out"`
}

// RolloutDevice is how one device is with a rollout.
type RolloutDevice struct {
	Device   string     `json:"device"`
	Label    string     `json:"label,omitempty"`
	Wave     int        `json:"wave" doc:"from 1"`
	State    string     `json:"state" doc:"planned, assigned, transferring, staged, gated, waiting_operator, waiting_window, probation, proving, proven, failed, lying, silent, no_stations, revoked, cancelling, cancelled, kept, rolling_back, rolled_back"`
	Reason   string     `json:"reason,omitempty" doc:"a code, as golden_gate, slow, timeout"`
	Text     string     `json:"text,omitempty" doc:"why, for people"`
	Waits    string     `json:"waits,omitempty" doc:"what it is waited for, and until when, for people"`
	Doubt    string     `json:"unmeasured,omitempty" doc:"why the bundle's golden pictures, though they came out right on it, are no proof on its provider; absent where they are, haven't run, or where its agent is too old to tell"`
	Forgiven bool       `json:"forgiven,omitempty" doc:"its failure counts no more: the rollout was resumed after it"`
	Done     uint64     `json:"done" doc:"bytes of the bundle that it has"`
	Total    uint64     `json:"total" doc:"of so many; 0 while that isn't known"`
	Sent     int        `json:"sent" doc:"how often the command was sent"`
	Heard    *time.Time `json:"heard,omitempty" doc:"its newest report about that command"`
	Proven   *time.Time `json:"proven,omitempty"`
	Changed  time.Time  `json:"changed" doc:"since when its state is so"`
}

// RolloutEvent is a line of a rollout's history.
type RolloutEvent struct {
	At     time.Time `json:"at"`
	Device string    `json:"device,omitempty" doc:"absent where it is about the whole rollout"`
	What   string    `json:"what"`
	Who    string    `json:"who" doc:"a user, a device, or fleet"`
}

// maxEvents is how much of a rollout's history is told.
const maxEvents = 200

func newRollout(v *rollout.View) Rollout {
	c := v.Conditions
	out := Rollout{
		ID: v.ID, Bundle: v.Bundle, Version: v.Version, Digest: hex.EncodeToString(v.Digest[:]), Group: v.Group, State: v.State, Reason: v.Reason,
		By: v.By, Created: v.Created, Ended: some(v.Ended), Wave: v.Wave + 1, Waves: []Wave{},
		Conditions: RolloutConditions{
			Verdicts: c.Verdicts, Probation: c.Probation.Milliseconds(), Timeout: c.Timeout.Milliseconds(), Silence: c.Silence.Milliseconds(),
			Success: c.Success, MaxFailures: c.MaxFailures.String(), MaxSilent: c.MaxSilent.String(), WithoutGolden: c.WithoutGolden,
		},
	}
	for _, w := range v.Waves {
		out.Waves = append(out.Waves, Wave(w))
		out.Proven += w.Proven
		out.Unmeasured += w.Unmeasured
	}
	for i := range v.Devices {
		d := &v.Devices[i]
		out.Devices = append(out.Devices, RolloutDevice{
			Device: d.Device, Label: d.Label, Wave: d.Wave + 1, State: d.State, Reason: d.Reason, Text: d.Text, Waits: d.Waits, Doubt: d.Unmeasured, Forgiven: d.Forgiven,
			Done: d.Done, Total: d.Total, Sent: d.Sent, Heard: some(d.Heard), Proven: some(d.Proven), Changed: d.Changed,
		})
	}
	return out
}

type rolloutsInput struct {
	Limit int `query:"limit" default:"20" minimum:"1" maximum:"100" doc:"at most so many"`
}

type rolloutsOutput struct {
	Body struct {
		Rollouts []Rollout `json:"rollouts"`
	}
}

func (s *Server) listRollouts(ctx context.Context, in *rolloutsInput) (*rolloutsOutput, error) {
	all, err := s.cfg.Rollouts.List(ctx, in.Limit)
	if err != nil {
		return nil, s.unavailable(ctx, "read rollouts", err)
	}
	out := new(rolloutsOutput)
	out.Body.Rollouts = []Rollout{}
	for i := range all {
		out.Body.Rollouts = append(out.Body.Rollouts, newRollout(&all[i]))
	}
	return out, nil
}

type rolloutInput struct {
	ID string `path:"id" maxLength:"32" doc:"id of the rollout"`
}

type rolloutOutput struct{ Body Rollout }

func (s *Server) getRollout(ctx context.Context, in *rolloutInput) (*rolloutOutput, error) {
	v, err := s.cfg.Rollouts.Get(ctx, in.ID)
	if err != nil {
		return nil, s.rolloutFault(ctx, in.ID, err)
	}
	events, err := s.cfg.Rollouts.Events(ctx, in.ID, maxEvents)
	if err != nil {
		return nil, s.rolloutFault(ctx, in.ID, err)
	}
	out := newRollout(v)
	for _, e := range events {
		out.Events = append(out.Events, RolloutEvent{At: e.At, Device: e.Device, What: e.What, Who: e.Who})
	}
	return &rolloutOutput{out}, nil
}

// rolloutFault makes an error of the engine's a problem.
func (s *Server) rolloutFault(ctx context.Context, id string, err error) error {
	switch {
	case errors.Is(err, rollout.ErrConflict):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, rollout.ErrRequest), errors.Is(err, rollout.ErrUnknown):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("there is no rollout " + strconv.Quote(id))
	}
	return s.unavailable(ctx, "rollout", err)
}

type startRolloutInput struct {
	Body struct {
		Bundle  string `json:"bundle" minLength:"1" maxLength:"64" doc:"name of a published bundle"`
		Version string `json:"version,omitempty" maxLength:"64" doc:"without: the newest"`
		Group   string `json:"group" minLength:"1" maxLength:"64" doc:"* for all devices"`
		Waves   string `json:"waves,omitempty" maxLength:"200" doc:"numbers and shares of the devices, and all at the end, as 1,10%,all; without: 1,all"`
		RolloutConditions
	}
}

// spec is what is asked for.
func (in *startRolloutInput) spec() (spec rollout.Spec, err error) {
	b := &in.Body
	failures, err := rollout.ParseLimit(b.MaxFailures)
	if err != nil {
		return spec, err
	}
	silent, err := rollout.ParseLimit(b.MaxSilent)
	if err != nil {
		return spec, err
	}
	return rollout.Spec{Bundle: b.Bundle, Version: b.Version, Group: b.Group, Waves: strings.TrimSpace(b.Waves), Conditions: rollout.Conditions{
		Verdicts: b.Verdicts, Probation: ms(b.Probation), Timeout: ms(b.Timeout), Silence: ms(b.Silence),
		Success: b.Success, MaxFailures: failures, MaxSilent: silent, WithoutGolden: b.WithoutGolden,
	}}, nil
}

// ms are milliseconds; more than a lifetime are a lifetime.
func ms(n int64) time.Duration { return time.Duration(min(n, 3e12)) * time.Millisecond }

func (s *Server) startRollout(ctx context.Context, in *startRolloutInput) (*rolloutOutput, error) {
	spec, err := in.spec()
	if err != nil {
		return nil, s.rolloutFault(ctx, "", err)
	}
	id, err := s.cfg.Rollouts.Start(ctx, spec, who(ctx).User)
	if err != nil {
		return nil, s.rolloutFault(ctx, "", err)
	}
	s.log.Info("rollout begun", "rollout", id, "bundle", spec.Bundle, "group", spec.Group, "user", who(ctx).User)
	return s.getRollout(ctx, &rolloutInput{id})
}

func (s *Server) pauseRollout(ctx context.Context, in *rolloutInput) (*rolloutOutput, error) {
	return s.changeRollout(ctx, in.ID, change{act: "pause"})
}

type resumeRolloutInput struct {
	ID   string `path:"id" maxLength:"32" doc:"id of the rollout"`
	Body *struct {
		Retry bool `json:"retry_failed,omitempty" doc:"devices that failed or were silent try once more; without, they count no more"`
	}
}

func (s *Server) resumeRollout(ctx context.Context, in *resumeRolloutInput) (*rolloutOutput, error) {
	return s.changeRollout(ctx, in.ID, change{act: "resume", again: in.Body != nil && in.Body.Retry})
}

type endRolloutInput struct {
	ID   string `path:"id" maxLength:"32" doc:"id of the rollout"`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"why; it is kept"`
	}
}

func (in *endRolloutInput) change(act string) change {
	if in.Body == nil {
		return change{act: act}
	}
	return change{act: act, why: in.Body.Reason}
}

func (s *Server) abortRollout(ctx context.Context, in *endRolloutInput) (*rolloutOutput, error) {
	return s.changeRollout(ctx, in.ID, in.change("abort"))
}

func (s *Server) rollbackRollout(ctx context.Context, in *endRolloutInput) (*rolloutOutput, error) {
	return s.changeRollout(ctx, in.ID, in.change("rollback"))
}

// change is what an operator does to a rollout.
type change struct {
	act   string // pause, resume, abort, rollback
	again bool   // of resume: what failed is tried once more
	why   string
}

func (s *Server) changeRollout(ctx context.Context, id string, c change) (*rolloutOutput, error) {
	e, by := s.cfg.Rollouts, who(ctx).User
	var err error
	switch c.act {
	case "pause":
		err = e.Pause(ctx, id, by)
	case "resume":
		err = e.Resume(ctx, id, c.again, by)
	case "abort":
		err = e.Abort(ctx, id, by, c.why)
	case "rollback":
		err = e.Rollback(ctx, id, by, c.why)
	default:
		return nil, huma.Error404NotFound("a rollout can be paused, resumed, aborted and rolled back")
	}
	if err != nil {
		return nil, s.rolloutFault(ctx, id, err)
	}
	s.log.Info("rollout changed", "rollout", id, "what", c.act, "reason", c.why, "user", by)
	return s.getRollout(ctx, &rolloutInput{id})
}
