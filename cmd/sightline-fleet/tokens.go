package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
)

func newUserToken(dir *string) *cobra.Command {
	var name string
	var life time.Duration
	cmd := &cobra.Command{
		Use: "token NAME", Short: "make an API token with the person's role, shown once",
		Args: named("sightline-fleet user token anna"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if life < 0 {
				return cli.Usage("--life %v: a token can't have ended before it is made; 0 is for ever", life)
			}
			return with(*dir, func(st *store.Store) error {
				u, err := st.User(cmd.Context(), args[0])
				if err != nil {
					return known(args[0], err)
				}
				secret := auth.NewSecret(auth.TokenPrefix)
				key := auth.KeyOf(secret)
				t := store.APIToken{Key: key, Name: strings.TrimSpace(fmt.Sprintf("%s %x", name, key[:4])), User: u.Name, Role: u.Role}
				if life > 0 {
					t.Expires = st.Now().Add(life)
				}
				if err := st.AddAPIToken(cmd.Context(), t); err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&name, "for", "command line", "what the token is for, for people")
	cmd.Flags().DurationVar(&life, "life", 90*24*time.Hour, "how long it is good; 0 for ever")
	return cmd
}

func newUserTokens(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "tokens NAME", Short: "a person's API tokens, also those that logins made; not their secrets",
		Args: named("sightline-fleet user tokens anna"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(*dir, func(st *store.Store) error {
				all, err := tokensOf(cmd, st, args[0])
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tCREATED\tEXPIRES")
				for _, t := range all {
					until := "never"
					if !t.Expires.IsZero() {
						until = t.Expires.Local().Format(time.DateTime)
					}
					if !t.Expires.IsZero() && !st.Now().Before(t.Expires) {
						until += " (ended)"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, t.Created.Local().Format(time.DateTime), until)
				}
				return w.Flush()
			})
		},
	}
}

func newUserTokenRemove(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "token-remove NAME TOKEN", Short: "end one of a person's API tokens, by its name or the digits at its end",
		Example: `  sightline-fleet user token-remove anna 'command line 4be10a77' --data fleet
  sightline-fleet user token-remove anna 4be10a77 --data fleet`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || args[0] == "" || args[1] == "" {
				return cli.Usage("takes a person and a token, as in: sightline-fleet user token-remove anna 4be10a77")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(*dir, func(st *store.Store) error {
				all, err := tokensOf(cmd, st, args[0])
				if err != nil {
					return err
				}
				var meant []store.APIToken
				for _, t := range all {
					if t.Name == args[1] || strings.HasSuffix(t.Name, " "+args[1]) {
						meant = append(meant, t)
					}
				}
				if len(meant) != 1 {
					return fmt.Errorf("%d tokens of %s are called %q: sightline-fleet user tokens %s names them", len(meant), args[0], args[1], args[0])
				}
				if err := st.RemoveAPIToken(cmd.Context(), meant[0].Key); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "token %q of %s has ended\n", meant[0].Name, args[0])
				return err
			})
		},
	}
}

// tokensOf are a person's API tokens, by name.
func tokensOf(cmd *cobra.Command, st *store.Store, user string) ([]store.APIToken, error) {
	if _, err := st.User(cmd.Context(), user); err != nil {
		return nil, known(user, err)
	}
	all, err := st.APITokens(cmd.Context())
	var own []store.APIToken
	for _, t := range all {
		if t.User == user {
			own = append(own, t)
		}
	}
	return own, err
}
