package api

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

type enrollInput struct {
	caller
	Body wire.EnrollRequest
}

type enrollOutput struct{ Body wire.EnrollAnswer }

// enroll lets a device in. Guesses at tokens are held up by their address, for
// seconds at most: a factory's devices share one, and a token has 256 bits.
func (s *Server) enroll(ctx context.Context, in *enrollInput) (*enrollOutput, error) {
	guess := s.cfg.Enroll.Ours(in.Body.Token)
	if guess {
		if wait := s.enrols.Begin("", in.from); wait > 0 {
			held := errHeld{wait}
			return nil, huma.ErrorWithHeaders(huma.Error429TooManyRequests(held.Error()), http.Header{"Retry-After": {held.seconds()}})
		}
	}
	a, err := s.cfg.Enroll.Enroll(ctx, in.Body)
	if guess && !errors.Is(err, enroll.ErrToken) { // it knew a secret
		s.enrols.Succeeded("", in.from)
	}
	if err != nil {
		level := slog.LevelWarn
		if !guess { // anybody can send that without end
			level = slog.LevelDebug
		}
		return nil, s.refuse(ctx, level, "enrolment refused", in.from, err)
	}
	s.devices.forget()
	s.log.Info("device enrolled", "device", a.Device, "group", a.Group, "from", in.from)
	return &enrollOutput{*a}, nil
}

type renewInput struct {
	caller
	Body wire.RenewRequest
}

// refuse answers a device that isn't let in, with the text that is for its
// owner; trouble of the fleet's own stays in its log.
func (s *Server) refuse(ctx context.Context, level slog.Level, what string, from netip.Addr, err error) error {
	for _, known := range []error{enroll.ErrCSR, enroll.ErrRequest} {
		if errors.Is(err, known) {
			s.log.Log(ctx, level, what, "from", from, "err", err)
			return huma.Error422UnprocessableEntity(err.Error())
		}
	}
	for _, known := range []error{
		enroll.ErrToken, enroll.ErrUsed, enroll.ErrExpired, enroll.ErrRevoked, enroll.ErrUnknown, enroll.ErrGrace, enroll.ErrPeer,
	} {
		if errors.Is(err, known) {
			s.log.Log(ctx, level, what, "from", from, "err", err)
			return huma.Error403Forbidden(err.Error())
		}
	}
	return s.unavailable(ctx, what, err)
}

// renew gives a device its next certificate.
func (s *Server) renew(ctx context.Context, in *renewInput) (*enrollOutput, error) {
	var peer []*x509.Certificate
	if in.tls != nil {
		peer = in.tls.PeerCertificates
	}
	if len(peer) == 0 {
		return nil, huma.Error401Unauthorized("no client certificate came with the connection: renew over TLS with the present one")
	}
	a, err := s.cfg.Enroll.Renew(ctx, peer, in.Body)
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, enroll.ErrPeer) { // anybody can show that without end
			level = slog.LevelDebug
		}
		return nil, s.refuse(ctx, level, "renewal refused", in.from, err)
	}
	s.log.Info("certificate renewed", "device", a.Device, "until", a.NotAfter)
	return &enrollOutput{*a}, nil
}

type tokenInput struct {
	Body struct {
		Group string  `json:"group" minLength:"1" maxLength:"64" doc:"that the device will belong to"`
		Life  float64 `json:"life_s,omitempty" minimum:"60" maximum:"2592000" default:"3600" doc:"how long the token is good, s"`
	}
}

type tokenOutput struct {
	Body struct {
		Token   string    `json:"token" doc:"for sightline-agent enroll --token; shown this once"`
		Group   string    `json:"group"`
		Expires time.Time `json:"expires"`
	}
}

func (s *Server) enrollToken(ctx context.Context, in *tokenInput) (*tokenOutput, error) {
	life := time.Duration(in.Body.Life * float64(time.Second))
	t, err := s.cfg.Enroll.Token(ctx, in.Body.Group, life)
	switch {
	case errors.Is(err, enroll.ErrRequest):
		return nil, huma.Error422UnprocessableEntity(err.Error())
	case err != nil:
		return nil, s.unavailable(ctx, "make an enrolment token", err)
	}
	s.log.Info("enrolment token made", "group", in.Body.Group, "user", who(ctx).User)
	out := &tokenOutput{}
	out.Body.Token, out.Body.Group, out.Body.Expires = t.String(), in.Body.Group, s.store.Now().Add(life)
	return out, nil
}

type revokeInput struct {
	Device string `path:"device" maxLength:"64" doc:"id of the device"`
	Body   struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"why, for the log"`
	}
}

func (s *Server) revokeV1(ctx context.Context, in *revokeInput) (*deviceOutput, error) {
	if err := s.revoke(ctx, in.Device, in.Body.Reason); err != nil {
		return nil, err
	}
	return s.getDevice(ctx, &deviceInput{in.Device})
}

// revoke takes nothing more from a device. The error is a problem.
func (s *Server) revoke(ctx context.Context, device, reason string) error {
	err := s.cfg.Enroll.Revoke(ctx, device)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return huma.Error404NotFound("there is no device " + strconv.Quote(device))
	case err != nil:
		return s.unavailable(ctx, "revoke a device", err)
	}
	s.devices.forget()
	s.log.Info("device revoked", "device", device, "user", who(ctx).User, "reason", reason)
	return nil
}
