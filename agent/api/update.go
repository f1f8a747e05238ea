package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/internal/web"
)

// Update is how a station is with the bundle that it follows.
type Update struct {
	Station string   `json:"-"`
	Recipe  string   `json:"recipe,omitempty" doc:"the recipe that follows the bundle; absent where the whole station does"`
	Active  *Bundle  `json:"active,omitempty" doc:"what runs; absent before the first"`
	Next    *Coming  `json:"next,omitempty" doc:"what is coming, or came last; absent for nothing"`
	Failure *Failure `json:"failure,omitempty" doc:"the newest bundle that was refused or rolled back; absent without one"`
}

// Bundle is a signed bundle.
type Bundle struct {
	Name    string     `json:"name" example:"caps"`
	Version string     `json:"version" example:"1.2.0"`
	Digest  string     `json:"digest" doc:"SHA-256 of its archive, hex"`
	Since   *time.Time `json:"since,omitempty" doc:"since when it runs here; absent where that isn't known"`

	Unmeasured string `json:"unmeasured,omitempty" doc:"why its golden pictures, though they came out right, are no proof on this provider; absent where they are"`
}

// Coming is a bundle on its way into a station.
type Coming struct {
	Name    string `json:"name" example:"caps"`
	Version string `json:"version" example:"1.3.0"`
	Digest  string `json:"digest" doc:"SHA-256 of its archive, hex"`
	Phase   Phase  `json:"phase" enum:"assigned,transfer,staged,gated,waiting,probation,committed,rolled_back,refused,cancelled" doc:"how far it is"`
	Reason  string `json:"reason,omitempty" doc:"a code of a phase that waits or isn't good, as operator, window, golden_gate, slow"`
	Text    string `json:"text,omitempty" doc:"why, for people"`
	Done    uint64 `json:"done_bytes" doc:"fetched"`
	Total   uint64 `json:"total_bytes" doc:"of its archive; 0 before that is known"`

	Unmeasured string `json:"unmeasured,omitempty" doc:"why its golden pictures, though they came out right, are no proof on this provider; absent where they are"`
}

// Failure is why a bundle doesn't run.
type Failure struct {
	Name     string     `json:"name,omitempty"`
	Version  string     `json:"version,omitempty"`
	Digest   string     `json:"digest,omitempty" doc:"SHA-256 of its archive, hex"`
	Phase    Phase      `json:"phase,omitempty" enum:"rolled_back,refused" doc:"whether it ever ran"`
	Reason   string     `json:"reason,omitempty" doc:"a code, as untrusted, golden_gate, slow"`
	Text     string     `json:"text" doc:"why, for people"`
	At       *time.Time `json:"at,omitempty"`
	Pictures []string   `json:"pictures,omitempty" doc:"names of drawn pictures at /v1/updates/pictures/{picture}: what was expected and what was found"`
}

// Phase is how far a station is with a bundle.
type Phase string

// The phases, in order; the last three end early.
const (
	Assigned   Phase = "assigned"    // nothing is done yet
	Transfer   Phase = "transfer"    // being fetched and verified
	Staged     Phase = "staged"      // whole and verified, beside the running one
	Gated      Phase = "gated"       // proved on this hardware
	Waiting    Phase = "waiting"     // for the window or the operator
	Probation  Phase = "probation"   // active, and watched
	Committed  Phase = "committed"   // active for good
	RolledBack Phase = "rolled_back" // was active, the one before runs again
	Refused    Phase = "refused"     // never was active
	Cancelled  Phase = "cancelled"   // taken back before it was active
)

// Approvable tells whether an operator's OK is what it waits for, or would let
// it switch before its window.
func (c *Coming) Approvable() bool { return c.Phase == Waiting }

// ForOperator is the reason of a bundle that waits for nothing else.
const ForOperator = "operator"

// addUpdates adds what changes which bundle runs.
func (s *Server) addUpdates(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "approve-update", Method: http.MethodPost, Path: "/v1/stations/{station}/update/approve",
		Summary: "Let a waiting bundle switch", DefaultStatus: http.StatusAccepted,
		Description: "An operator's OK for the bundle that the station waits with, whatever it waits for. The switch comes between two parts.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict},
	}, s.approve)
	huma.Register(api, huma.Operation{
		OperationID: "install-update", Method: http.MethodPost, Path: "/v1/updates",
		Summary: "Install bundles from a folder", DefaultStatus: http.StatusAccepted, MaxBodyBytes: 8 << 10,
		Description: "Takes signed bundles from a folder of the device, such as a USB stick's, with the folders metadata and targets. " +
			"They pass the same checks as those from the fleet. Only programs on the device itself may ask.",
		Errors: []int{http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity},
	}, s.install)
	huma.Register(api, stream("update-picture", "/v1/updates/pictures/{picture}", "A picture of a refused bundle",
		"image/jpeg", "One of the names in a station's update.failure.pictures: expected and found, drawn."), s.refusedPicture)
}

func (s *Server) approve(_ context.Context, in *stationInput) (*struct{}, error) {
	if station(s.source.Now().Stations, in.Station) == nil {
		return nil, huma.Error404NotFound("there is no station " + strconv.Quote(in.Station))
	}
	return nil, refusal(s.source.Approve(in.Station))
}

// refusal is what a Source says against an update, as the interface tells it.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrNoUpdates):
		return huma.Error404NotFound(err.Error())
	case err != nil:
		return huma.Error409Conflict(err.Error())
	}
	return nil
}

type installInput struct {
	Body struct {
		Folder string `json:"folder" minLength:"1" maxLength:"4096" doc:"of this device, absolute" example:"/media/usb"`
	}
	local  bool
	answer http.ResponseWriter
}

// Resolve notes where the request comes from, and where the answer goes.
func (in *installInput) Resolve(ctx huma.Context) []error {
	in.local = local(ctx)
	_, in.answer = humago.Unwrap(ctx)
	return nil
}

// local tells whether a program on this device asks.
func local(ctx huma.Context) bool {
	a, err := netip.ParseAddrPort(ctx.RemoteAddr())
	here := err == nil && a.Addr().Unmap().IsLoopback()
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via"} { // of a proxy, for somebody elsewhere
		here = here && ctx.Header(name) == ""
	}
	return here
}

// installTime is how long bundles may be read and checked for a client.
const installTime = 30 * time.Minute

func (s *Server) install(ctx context.Context, in *installInput) (*struct{}, error) {
	if !in.local {
		return nil, huma.Error403Forbidden("only programs on the device itself may install from its folders")
	}
	web.Allow(in.answer, time.Now().Add(installTime))
	return nil, refusal(s.source.Install(ctx, in.Body.Folder))
}

type pictureInput struct {
	Picture string `path:"picture" maxLength:"300" doc:"name of the picture"`
}

func (s *Server) refusedPicture(_ context.Context, in *pictureInput) (*huma.StreamResponse, error) {
	b, ok := s.source.RefusedPicture(in.Picture)
	if !ok {
		return nil, huma.Error404NotFound("there is no picture " + strconv.Quote(in.Picture) + " of a refused bundle")
	}
	return jpegBody(b, "private, max-age=3600"), nil
}

// approveForm is approve for the page's button.
func (s *Server) approveForm(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("station")
	if _, err := s.approve(r.Context(), &stationInput{Station: id}); err != nil {
		s.message(w, statusOf(err), "Nothing was switched", web.Sentence(err.Error())+".")
		return
	}
	http.Redirect(w, r, "/stations/"+id+"#update", http.StatusSeeOther)
}

// statusOf is the HTTP status of an operation's error.
func statusOf(err error) int {
	var status huma.StatusError
	if errors.As(err, &status) {
		return status.GetStatus()
	}
	return http.StatusConflict
}

// ownPages refuses what another site makes a browser do.
func ownPages(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if web.Inference(r.URL.Path) {
			web.DenyForeign(w, r)
			return
		}
		web.Problem(w, http.StatusForbidden, "another site sent this: open the device's own page and do it there")
	}))
	return p.Handler(next)
}
