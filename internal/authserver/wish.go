package authserver

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/session"
)

// wish is what a request wants its access token to be good for. What is nil was not asked for.
type wish struct{ audiences, scopes []string }

// wish reads the parameters scope (RFC 6749 section 3.3), audience (RFC 8693 section 2.1) and resource (RFC 8707 section
// 2). The last two name the same here: a value of the claim "aud".
func (f form) wish() (wish, *refusal) {
	for _, resource := range f.list("resource") {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			return wish{}, invalidTarget("A resource must be an absolute URI without a fragment; use audience for other names.")
		}
	}
	return wish{
		audiences: append(f.list("audience"), f.list("resource")...),
		scopes:    strings.Fields(f.get("scope")),
	}, nil
}

// orDefault is what a login gets that does not ask for anything: tokens for every application of the issuer, and no
// scope, since each is a right.
func (w wish) orDefault(policy *session.Policy) wish {
	if len(w.audiences) == 0 {
		w.audiences = policy.Audiences
	}
	return w
}

// within returns what is wished for of what is granted, which is all of it where nothing is asked for (RFC 6749 section
// 6, RFC 8707 section 2.2).
func (w wish) within(audiences, scopes []string) (wish, *refusal) {
	narrowed := wish{audiences: audiences, scopes: scopes}
	if len(w.audiences) > 0 {
		if !containsAll(audiences, w.audiences) {
			return wish{}, invalidTarget("The session has no access to an audience that is asked for; ask for less, or log in anew.")
		}
		narrowed.audiences = those(audiences, w.audiences)
	}
	if len(w.scopes) > 0 {
		if !containsAll(scopes, w.scopes) {
			return wish{}, invalidScope("The session was not granted a scope that is asked for; ask for less, or log in anew.")
		}
		narrowed.scopes = those(scopes, w.scopes)
	}
	return narrowed, nil
}

func containsAll(granted, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(text string) bool { return !slices.Contains(granted, text) })
}

// those returns what is granted and wanted, in the order of granted.
func those(granted, wanted []string) []string {
	return slices.DeleteFunc(slices.Clone(granted), func(text string) bool { return !slices.Contains(wanted, text) })
}

func invalidTarget(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeInvalidTarget, description: description}
}

func invalidScope(description string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeInvalidScope, description: description}
}
