package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/auth"
)

// loginOptions are the flags of login.
type loginOptions struct {
	fleet, user, ca, fingerprint string
	tokenStdin                   bool
}

func newLogin() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login --fleet URL",
		Short: "log in to a fleet, for the commands that ask it",
		Long: `login checks that the server at the address is the fleet, asks for your name and
password, and keeps a token in sightline/login.json in your configuration
directory, which only you can read. The fleet is known by its certificate
authority: give its file or its fingerprint, which sightline-fleet init printed.

Where standard input is no terminal, the password is its first line.`,
		Example: `  sightline login --fleet https://fleet.local:8443 --fingerprint 4be1…07
  sightline login --fleet https://fleet.local:8443 --ca ca.pem --user anna < password.txt
  sightline-fleet user token ci | sightline login --fleet https://fleet.local:8443 --ca ca.pem --token-stdin`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), newPrompt(cmd)) },
	}
	f := cmd.Flags()
	f.StringVar(&o.fleet, "fleet", "", "address of the fleet, as https://fleet.local:8443")
	f.StringVar(&o.user, "user", "", "your name there; asked for where it is missing")
	f.StringVar(&o.ca, "ca", "", "file with the fleet's certificate authority (PEM)")
	f.StringVar(&o.fingerprint, "fingerprint", "", "SHA-256 of the fleet's certificate authority, hex")
	f.BoolVar(&o.tokenStdin, "token-stdin", false, "read an API token from standard input, in place of a password")
	return cmd
}

func newLogout() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "end the login at the fleet and forget it",
		Args:  cli.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return logout(cmd.Context(), cmd.OutOrStdout(), force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "forget the login also where the fleet can't be told")
	return cmd
}

func (o *loginOptions) run(ctx context.Context, p *prompt) error {
	if err := cli.Required("fleet", o.fleet, "https://fleet.local:8443"); err != nil {
		return err
	}
	address, err := fleetAddress(o.fleet)
	if err != nil {
		return err
	}
	if o.tokenStdin && o.user != "" {
		return cli.Usage("--token-stdin and --user: a token has its own user")
	}
	ca, err := o.trust(ctx, address, p)
	if err != nil {
		return err
	}
	l := login{Fleet: address, CA: ca}
	if o.tokenStdin {
		err = l.byToken(ctx, p)
	} else {
		err = l.byPassword(ctx, o.user, p)
	}
	if err != nil {
		return err
	}
	before, _ := loadLogin() // without one, or with one that can't be read, nothing is to be ended
	path, err := l.save()
	if err != nil {
		return err
	}
	l.replace(ctx, before, p.err)
	until := ""
	if !l.Expires.IsZero() {
		until = ", until " + l.Expires.Local().Format("2006-01-02 15:04")
	}
	fmt.Fprintf(p.out, "logged in at %s as %s (%s)%s; kept in %s\n", l.Fleet, clean(l.User), clean(l.Role), until, path)
	return nil
}

// byToken takes a token that was made elsewhere.
func (l *login) byToken(ctx context.Context, p *prompt) error {
	line, err := p.line(ctx)
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	if l.Token = strings.TrimSpace(line); !auth.IsSecret(auth.TokenPrefix, l.Token) {
		return fmt.Errorf("read the token: standard input holds none, one begins with %s; sightline-fleet user token makes one", auth.TokenPrefix)
	}
	var me struct{ User, Role string }
	if err := l.call(ctx, http.MethodGet, "/v1/me", nil, &me); err != nil {
		if errors.Is(err, errLoggedOut) {
			return fmt.Errorf("log in at %s: the fleet doesn't know this token, or it has ended", l.Fleet)
		}
		return err
	}
	l.User, l.Role = me.User, me.Role
	return nil
}

// byPassword gets a token for a name and a password.
func (l *login) byPassword(ctx context.Context, user string, p *prompt) error {
	var err error
	if user == "" {
		if !p.terminal {
			return cli.Usage("--user is missing, as in: --user anna")
		}
		fmt.Fprint(p.err, "Name: ")
		if user, err = p.line(ctx); err != nil {
			return fmt.Errorf("read your name: %w", err)
		}
	}
	password, err := p.password(ctx)
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	host, _ := os.Hostname() // the token's name is only for people
	in := struct {
		User     string `json:"user"`
		Password string `json:"password"`
		Name     string `json:"name"`
	}{strings.TrimSpace(user), password, cut("sightline on "+cmp.Or(host, "a machine"), 50)}
	var out struct {
		Token, User, Role string
		Expires           time.Time
	}
	err = l.call(ctx, http.MethodPost, "/v1/login", in, &out)
	switch {
	case errors.Is(err, errLoggedOut):
		return fmt.Errorf("log in at %s: the name or the password is wrong", l.Fleet)
	case err != nil:
		return err
	case !auth.IsSecret(auth.TokenPrefix, out.Token):
		return fmt.Errorf("log in at %s: the answer holds no token; is this a Sightline fleet?", l.Fleet)
	}
	l.Token, l.User, l.Role, l.Expires, l.Made = out.Token, out.User, out.Role, out.Expires, true
	return nil
}

// replace ends the token of the login before this one, which nobody has any
// more. One that was made elsewhere stays: others may use it.
func (l *login) replace(ctx context.Context, before *login, warn io.Writer) {
	if before == nil || !before.Made || before.Fleet != l.Fleet || before.Token == l.Token {
		return
	}
	if err := before.call(ctx, http.MethodPost, "/v1/logout", nil, nil); err != nil && !errors.Is(err, errLoggedOut) {
		fmt.Fprintf(warn, "the login before this one is still good at the fleet: %v\n", err)
	}
}

func logout(ctx context.Context, out io.Writer, force bool) error {
	l, err := loadLogin()
	if err != nil {
		return err
	}
	ended := l.call(ctx, http.MethodPost, "/v1/logout", nil, nil)
	if errors.Is(ended, errLoggedOut) {
		ended = nil
	}
	if ended != nil && !force {
		return fmt.Errorf("the login is kept, because it is still good at the fleet; try again, or forget it here alone with --force: %w", ended)
	}
	if err := forgetLogin(); err != nil {
		return err
	}
	if ended != nil {
		return fmt.Errorf("the login is forgotten here, but still good at the fleet until it expires or sightline-fleet user token-remove ends it: %w", ended)
	}
	fmt.Fprintf(out, "logged out at %s\n", l.Fleet)
	return nil
}

// prompt is how a command asks a person, or reads what it is given in place of
// the answers.
type prompt struct {
	in       *bufio.Reader
	fd       int
	terminal bool
	out, err io.Writer
}

func newPrompt(cmd *cobra.Command) *prompt {
	p := &prompt{in: bufio.NewReader(cmd.InOrStdin()), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
	if f, ok := cmd.InOrStdin().(*os.File); ok {
		p.fd = int(f.Fd())
		p.terminal = term.IsTerminal(p.fd)
	}
	return p
}

// line reads one; the last one needs no end.
func (p *prompt) line(ctx context.Context) (string, error) {
	return interruptible(ctx, func() (string, error) {
		text, err := p.in.ReadString('\n')
		if errors.Is(err, io.EOF) && text != "" {
			err = nil
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("standard input is empty")
		}
		return strings.TrimRight(text, "\r\n"), err
	})
}

// password reads one, from a terminal without showing it.
func (p *prompt) password(ctx context.Context) (string, error) { return p.secret(ctx, "Password: ") }

func (p *prompt) secret(ctx context.Context, label string) (string, error) {
	if !p.terminal {
		return p.line(ctx)
	}
	shown, err := term.GetState(p.fd)
	if err != nil {
		return "", fmt.Errorf("look at the terminal: %w", err)
	}
	fmt.Fprint(p.err, label)
	b, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(p.fd) })
	if ctx.Err() != nil { // the read goes on, and what is typed must show again
		err = errors.Join(err, term.Restore(p.fd, shown))
	}
	fmt.Fprintln(p.err)
	return string(b), err
}

// errInterrupted is what a person's Ctrl-C makes of a question.
var errInterrupted = errors.New("interrupted")

// interruptible waits for what can't be told to end, as a read of a terminal,
// until the context ends. The read is left to go on: the program ends with it.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, errInterrupted
	}
	type answer struct {
		v   T
		err error
	}
	said := make(chan answer, 1)
	go func() {
		v, err := read()
		said <- answer{v, err}
	}()
	select {
	case a := <-said:
		return a.v, a.err
	case <-ctx.Done():
		return none, errInterrupted
	}
}

// yes asks a question; anything but yes is no.
func (p *prompt) yes(ctx context.Context, question string) (bool, error) {
	fmt.Fprint(p.err, question+" [yes/no] ")
	answer, err := p.line(ctx)
	return strings.EqualFold(strings.TrimSpace(answer), "yes"), err
}

// cut is at most n bytes of a text, whole letters.
func cut(text string, n int) string {
	return strings.ToValidUTF8(text[:min(len(text), n)], "")
}

// asJSON writes what a program reads.
func asJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
