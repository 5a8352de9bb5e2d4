package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/test/e2e/report"
)

const (
	// pollPause is the pause between two questions to a replica, and so the grain of the delays.
	pollPause = 500 * time.Microsecond
	// denialTimeout bounds the wait for one revocation.
	denialTimeout = 30 * time.Second
)

// revoker revokes tokens, and watches each replica for when it first denies them. The write and the watch are in one
// program, so that one clock measures.
type revoker struct {
	api     client.Client
	target  target
	mintURL string
	plain   *http.Client
	// transports keep a connection to each replica, by its address.
	transports map[string]*http.Transport
}

func revoke(_ context.Context, arguments []string, mux *http.ServeMux) (background func() error, err error) {
	flags := flag.NewFlagSet("revoke", flag.ContinueOnError)
	base := flags.String("keyturn", "", "the URL of Keyturn's Service")
	ca := flags.String("ca", "", "the file with the authority of Keyturn's certificate")
	mintURL := flags.String("mint", "", "the URL of who mints the tokens")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	at, err := url.Parse(*base)
	if err != nil {
		return nil, fmt.Errorf("-keyturn: %w", err)
	}
	target, err := newTarget(*base, at.Hostname(), *ca)
	if err != nil {
		return nil, err
	}
	connection, err := config.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	connection.QPS = -1 // Nothing but the API server itself may delay a write that is measured.
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	api, err := client.New(connection, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	r := &revoker{
		api: api, target: target, mintURL: *mintURL, plain: &http.Client{Timeout: attemptTimeout},
		transports: map[string]*http.Transport{},
	}
	mux.HandleFunc("POST /revocations", handle(r.revokeAll))
	return nil, nil
}

func (r *revoker) revokeAll(request *http.Request) ([]report.Revocation, error) {
	var wanted report.RevocationRequest
	if err := json.NewDecoder(request.Body).Decode(&wanted); err != nil {
		return nil, fmt.Errorf("reading what to revoke: %w", err)
	}
	ctx := request.Context()
	tokens, err := mintTokens(ctx, r.plain, r.mintURL, wanted.Namespace+"/"+wanted.Issuer, wanted.Count)
	if err != nil {
		return nil, fmt.Errorf("getting tokens to revoke: %w", err)
	}
	for _, address := range wanted.Replicas {
		if r.transports[address] == nil {
			r.transports[address] = r.target.transport(keptAlive)
		}
	}
	out := make([]report.Revocation, 0, len(tokens))
	for _, token := range tokens {
		done, err := r.revokeOne(ctx, wanted, token)
		if err != nil {
			return nil, err
		}
		out = append(out, done)
	}
	return out, nil
}

// revokeOne revokes one token that every replica takes for good until then.
func (r *revoker) revokeOne(ctx context.Context, wanted report.RevocationRequest, token string) (report.Revocation, error) {
	ctx, cancel := context.WithTimeout(ctx, denialTimeout)
	defer cancel()
	id, err := tokenID(token)
	if err != nil {
		return report.Revocation{}, err
	}
	for _, address := range wanted.Replicas {
		reason, err := r.verdict(ctx, address, token)
		if err != nil {
			return report.Revocation{}, fmt.Errorf("asking %s before the revocation: %w", address, err)
		}
		if reason != "" {
			return report.Revocation{}, fmt.Errorf("%s denies the token before it is revoked: %s", address, reason)
		}
	}
	revocation := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: wanted.Namespace, Name: "e2e-" + strings.ToLower(id)},
		Spec:       v1alpha1.TokenRevocationSpec{IssuerRef: v1alpha1.IssuerReference{Name: wanted.Issuer}, TokenID: id},
	}
	out := report.Revocation{Name: revocation.Name, Denied: map[string]time.Duration{}}
	delays := make([]time.Duration, len(wanted.Replicas))
	group, ctx := errgroup.WithContext(ctx)
	start := realTime.Now()
	for i, address := range wanted.Replicas {
		group.Go(func() error { return r.awaitDenial(ctx, address, token, start, &delays[i]) })
	}
	group.Go(func() error {
		if err := r.api.Create(ctx, revocation); err != nil {
			return fmt.Errorf("creating the TokenRevocation %s: %w", revocation.Name, err)
		}
		out.Written = realTime.Since(start)
		return nil
	})
	if err := group.Wait(); err != nil {
		return report.Revocation{}, err
	}
	for i, address := range wanted.Replicas {
		out.Denied[address] = delays[i]
	}
	return out, nil
}

// awaitDenial asks one replica until it denies the token, and notes when that was.
func (r *revoker) awaitDenial(ctx context.Context, address, token string, start time.Time, delay *time.Duration) error {
	for {
		reason, err := r.verdict(ctx, address, token)
		switch {
		case err != nil:
			return fmt.Errorf("waiting for %s to deny the revoked token: %w", address, err)
		case reason == "Revoked":
			*delay = realTime.Since(start)
			return nil
		case reason != "":
			return fmt.Errorf("%s denies the token with the reason %s, want Revoked", address, reason)
		}
		realTime.Sleep(pollPause)
	}
}

// verdict asks one replica, and returns why it denies the token, or nothing.
func (r *revoker) verdict(ctx context.Context, address, token string) (reason string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/verify", http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := r.transports[address].RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return "", nil
	}
	var denial struct {
		Reason string `json:"reason"`
	}
	if err := json.NewDecoder(response.Body).Decode(&denial); err != nil {
		return "", fmt.Errorf("reading why %s denies with %d: %w", address, response.StatusCode, err)
	}
	if denial.Reason == "" {
		return "", fmt.Errorf("%s denies with %d and no reason", address, response.StatusCode)
	}
	return denial.Reason, nil
}

// tokenID reads the claim jti, and leaves it to Keyturn whether the token is good.
func tokenID(token string) (string, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", fmt.Errorf("parsing a token: %w", err)
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return "", fmt.Errorf("reading the claims of a token: %w", err)
	}
	return claims.ID, nil
}
