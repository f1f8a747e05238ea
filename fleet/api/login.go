package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/internal/web"
)

const (
	sessionLife = 12 * time.Hour      // since it was last used
	sessionMost = 7 * 24 * time.Hour  // since the login, however much it is used
	tokenLife   = 90 * 24 * time.Hour // of one that a login gives to a program
	maxLogins   = 10                  // of one user at one place that are good at once
	renewAfter  = 10 * time.Minute    // so old a session's end is moved
	hashTime    = 10 * time.Second    // to wait for a password's check
)

// session is who the cookie stands for; its use moves its end.
func (s *Server) session(w http.ResponseWriter, r *http.Request) (*principal, error) {
	secret := auth.Cookie(r)
	if secret == "" {
		return nil, errNobody
	}
	key, now := auth.KeyOf(secret), s.store.Now()
	session, err := s.store.Session(r.Context(), key, now)
	if err != nil {
		return nil, nobody(err)
	}
	end := session.Begun.Add(sessionMost)
	if !now.Before(end) {
		return nil, errNobody
	}
	if session.Expires.Sub(now) < sessionLife-renewAfter && session.Expires.Before(end) {
		session.Expires = now.Add(sessionLife)
		if session.Expires.After(end) {
			session.Expires = end
		}
		if err := s.store.ExtendSession(r.Context(), key, session.Expires); err != nil {
			return nil, nobody(err) // it was ended meanwhile
		}
		auth.SetCookie(w, r, secret, session.Expires.Sub(now))
	}
	return &principal{User: session.User, Role: session.Role, key: key, page: true}, nil
}

// errWrong says no more than that, so that names can't be tried out.
var errWrong = errors.New("the name or the password is wrong")

// errHeld means that an attempt must wait.
type errHeld struct{ wait time.Duration }

func (e errHeld) Error() string {
	return "too many attempts: try again in " + e.seconds() + " s"
}

func (e errHeld) seconds() string { return strconv.Itoa(int(math.Ceil(e.wait.Seconds()))) }

// logIn checks a name and a password. The error is errWrong, an errHeld,
// auth.ErrBusy or the store's.
func (s *Server) logIn(ctx context.Context, name, password string, from netip.Addr) (*store.User, error) {
	if wait := s.logins.Begin(name, from); wait > 0 {
		return nil, errHeld{wait}
	}
	ctx, cancel := context.WithTimeout(ctx, hashTime)
	defer cancel()
	u, err := s.store.User(ctx, name)
	hash := ""
	switch {
	case err == nil:
		hash = u.Hash
	case !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	ok, stale, err := auth.Verify(ctx, hash, password)
	if err != nil {
		return nil, err
	}
	if !ok {
		s.log.Warn("login refused", "user", name, "from", from)
		return nil, errWrong
	}
	s.logins.Succeeded(name, from)
	if stale {
		if hash, err := auth.Hash(ctx, password); err == nil { // else the next login tries again
			if err := s.store.RenewHash(ctx, name, u.Hash, hash); err != nil && !errors.Is(err, store.ErrNotFound) {
				s.log.Warn("renew a password's hash", "user", name, "err", err)
			}
		}
	}
	s.log.Info("login", "user", u.Name, "from", from)
	return u, nil
}

// loginData is the page Login.
type loginData struct {
	Title, Next, User, Error string
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, err := s.session(w, r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.render(w, http.StatusOK, "login", loginData{Title: "Log in · Sightline fleet", Next: next})
}

func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	data := loginData{Title: "Log in · Sightline fleet", Next: localPath(r.PostFormValue("next")), User: r.PostFormValue("user")}
	data.User = data.User[:min(len(data.User), maxName)]
	u, err := s.logIn(r.Context(), data.User, r.PostFormValue("password"), remote(r))
	if err != nil {
		s.loginAgain(w, data, err)
		return
	}
	// Always a new secret: one that was in the browser before is ended, so that
	// nobody who planted it is let in.
	if old := auth.Cookie(r); old != "" {
		if err := s.store.RemoveSession(r.Context(), auth.KeyOf(old)); err != nil && !errors.Is(err, store.ErrNotFound) {
			s.log.Warn("end the session before", "err", err)
		}
	}
	secret := auth.NewSecret(auth.SessionPrefix)
	session := store.Session{Key: auth.KeyOf(secret), User: u.Name, Role: u.Role, Expires: s.store.Now().Add(sessionLife)}
	if err := s.store.AddSession(r.Context(), session); err != nil {
		s.loginAgain(w, data, err)
		return
	}
	auth.SetCookie(w, r, secret, sessionLife)
	http.Redirect(w, r, data.Next, http.StatusSeeOther)
}

// loginAgain shows the form with what was wrong.
func (s *Server) loginAgain(w http.ResponseWriter, data loginData, err error) {
	status, text, wait := s.loginFault(err)
	if wait != "" {
		w.Header().Set("Retry-After", wait)
	}
	data.Error = web.Sentence(text) + "."
	s.render(w, status, "login", data)
}

// loginProblem is the same for programs.
func (s *Server) loginProblem(err error) error {
	status, text, wait := s.loginFault(err)
	if wait == "" {
		return huma.NewError(status, text)
	}
	return huma.ErrorWithHeaders(huma.NewError(status, text), http.Header{"Retry-After": {wait}})
}

// loginFault is what a login that didn't work is answered with, and after how
// many seconds it may be tried again, "" for any time.
func (s *Server) loginFault(err error) (status int, text, wait string) {
	var held errHeld
	switch {
	case errors.Is(err, errWrong):
		return http.StatusUnauthorized, err.Error(), ""
	case errors.As(err, &held):
		return http.StatusTooManyRequests, held.Error(), held.seconds()
	case errors.Is(err, auth.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable, auth.ErrBusy.Error(), "5"
	}
	s.log.Warn("log in", "err", err)
	return http.StatusServiceUnavailable, "logins can't be checked now, the log says why", ""
}

// localPath is a path on this server, for where a login leads; "/" for all
// that could lead elsewhere.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || len(next) > 1000 ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") ||
		strings.HasPrefix(u.Path, "//") || strings.HasPrefix(u.Path, "/login") || strings.HasPrefix(u.Path, "/logout") {
		return "/"
	}
	return next
}

func (s *Server) logoutForm(w http.ResponseWriter, r *http.Request) {
	if err := s.logOut(r.Context()); err != nil {
		s.message(w, r, http.StatusServiceUnavailable, "You are still logged in", "The session couldn't be ended, the log says why. Try again.")
		return
	}
	auth.ClearCookie(w, r)
	w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// logOut ends the session or the token that asks for it.
func (s *Server) logOut(ctx context.Context) error {
	p := who(ctx)
	remove := s.store.RemoveAPIToken
	if p.page {
		remove = s.store.RemoveSession
	}
	if err := remove(ctx, p.key); err != nil && !errors.Is(err, store.ErrNotFound) {
		s.log.Warn("log out", "user", p.User, "err", err)
		return huma.Error503ServiceUnavailable("the login couldn't be ended, the log says why")
	}
	s.log.Info("logout", "user", p.User)
	return nil
}

const maxName = 64 // bytes of a user's name

type loginInput struct {
	caller
	Body struct {
		User     string `json:"user" minLength:"1" maxLength:"64"`
		Password string `json:"password" maxLength:"256"`
		Name     string `json:"name,omitempty" maxLength:"64" doc:"what the token is for, for people; such as the host that keeps it"`
	}
}

type loginOutput struct {
	Body struct {
		Token   string    `json:"token" doc:"to be sent as Authorization: Bearer; shown this once"`
		User    string    `json:"user"`
		Role    string    `json:"role" enum:"viewer,operator,admin"`
		Expires time.Time `json:"expires"`
	}
}

func (s *Server) loginV1(ctx context.Context, in *loginInput) (*loginOutput, error) {
	u, err := s.logIn(ctx, in.Body.User, in.Body.Password, in.from)
	if err != nil {
		return nil, s.loginProblem(err)
	}
	secret, now := auth.NewSecret(auth.TokenPrefix), s.store.Now()
	key := auth.KeyOf(secret)
	name := fmt.Sprintf("%s %x", cmp.Or(in.Body.Name, "login"), key[:4]) // a user's tokens have different names
	s.forgetTokens(ctx, u.Name, name[:len(name)-8], now)
	t := store.APIToken{Key: key, Name: name, User: u.Name, Role: u.Role, Created: now, Expires: now.Add(tokenLife)}
	if err := s.store.AddAPIToken(ctx, t); err != nil {
		return nil, s.loginProblem(err)
	}
	out := &loginOutput{}
	out.Body.Token, out.Body.User, out.Body.Role, out.Body.Expires = secret, u.Name, u.Role.String(), t.Expires
	return out, nil
}

// forgetTokens removes the user's tokens that have expired, and of those that
// logins gave to the same place the oldest, so that they don't pile up.
func (s *Server) forgetTokens(ctx context.Context, user, place string, now time.Time) {
	all, err := s.store.APITokens(ctx)
	all = slices.DeleteFunc(all, func(t store.APIToken) bool { return t.User != user })
	slices.SortFunc(all, func(a, b store.APIToken) int { return b.Created.Compare(a.Created) })
	same := 1 // the one that is made
	for _, t := range all {
		here := len(t.Name) == len(place)+8 && strings.HasPrefix(t.Name, place)
		if here {
			same++
		}
		if err == nil && (here && same > maxLogins || !t.Expires.IsZero() && now.After(t.Expires)) {
			err = s.store.RemoveAPIToken(ctx, t.Key)
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.log.Warn("forget tokens", "user", user, "err", err)
	}
}

type meOutput struct {
	Body struct {
		User string `json:"user"`
		Role string `json:"role" enum:"viewer,operator,admin"`
	}
}

func (s *Server) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	out := &meOutput{}
	p := who(ctx)
	out.Body.User, out.Body.Role = p.User, p.Role.String()
	return out, nil
}

func (s *Server) logoutV1(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, s.logOut(ctx)
}
