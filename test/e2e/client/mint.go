package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/test/e2e/report"
)

// mint is a workload that has mounted the signing keys of issuers. It signs every token with the key that the kubelet
// shows it at that moment.
func mint(_ context.Context, arguments []string, mux *http.ServeMux) (background func() error, err error) {
	flags := flag.NewFlagSet("mint", flag.ContinueOnError)
	var keys list
	flags.Var(&keys, "key", "an issuer and the folder where its signing key is mounted, as namespace/name=folder; can be repeated")
	audience := flags.String("audience", "", "who accepts the tokens")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	folders := map[string]string{}
	for _, key := range keys {
		issuer, folder, err := pair(key)
		if err != nil {
			return nil, fmt.Errorf("-key: %w", err)
		}
		folders[issuer] = folder
	}
	mux.HandleFunc("GET /tokens", handle(func(r *http.Request) (report.Tokens, error) {
		query := r.URL.Query()
		folder := folders[query.Get("issuer")]
		if folder == "" {
			return report.Tokens{}, fmt.Errorf("no signing key of the issuer %q is mounted", query.Get("issuer"))
		}
		count, err := strconv.Atoi(query.Get("count"))
		if err != nil {
			return report.Tokens{}, fmt.Errorf("count: %w", err)
		}
		var out report.Tokens
		for range count {
			token, err := signToken(folder, *audience)
			if err != nil {
				return report.Tokens{}, err
			}
			out.Tokens = append(out.Tokens, token)
		}
		return out, nil
	}))
	return nil, nil
}

// signToken signs one access token (RFC 9068) that lives as long as the issuer allows.
func signToken(folder, audience string) (string, error) {
	mounted, err := readMounted(folder)
	if err != nil {
		return "", err
	}
	header := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", mounted.keyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: mounted.algorithm, Key: mounted.key.Key}, header)
	if err != nil {
		return "", fmt.Errorf("the files in %s do not belong together: %w", folder, err)
	}
	id, now := rand.Text(), realTime.Now()
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: mounted.issuer, Subject: "user-" + id, Audience: jwt.Audience{audience}, ID: id,
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(mounted.maxLifetime)),
	}).Claims(map[string]any{"client_id": "e2e"}).Serialize()
}

// mountedKey is the content of the mounted Secret.
type mountedKey struct {
	key           jose.JSONWebKey
	keyID, issuer string
	algorithm     jose.SignatureAlgorithm
	maxLifetime   time.Duration
}

// readMounted reads the files of one moment: the kubelet exchanges all of them by turning the link ..data, so that is
// followed once, and again if the folder behind it went away in between.
func readMounted(folder string) (mountedKey, error) {
	var err error
	for range 3 {
		var data string
		if data, err = filepath.EvalSymlinks(filepath.Join(folder, "..data")); err != nil {
			continue
		}
		var mounted mountedKey
		if mounted, err = readFiles(data); err == nil {
			return mounted, nil
		}
	}
	return mountedKey{}, fmt.Errorf("reading the signing key mounted at %s: %w", folder, err)
}

func readFiles(folder string) (mountedKey, error) {
	text := map[string]string{}
	for _, name := range []string{v1alpha1.DataKeyJWK, v1alpha1.DataKeyID, v1alpha1.DataAlgorithm, v1alpha1.DataIssuer, v1alpha1.DataMaxLifetime} {
		content, err := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // The folder is the suite's own choice.
		if err != nil {
			return mountedKey{}, err
		}
		text[name] = strings.TrimSpace(string(content))
	}
	mounted := mountedKey{
		keyID: text[v1alpha1.DataKeyID], issuer: text[v1alpha1.DataIssuer],
		algorithm: jose.SignatureAlgorithm(text[v1alpha1.DataAlgorithm]),
	}
	if err := json.Unmarshal([]byte(text[v1alpha1.DataKeyJWK]), &mounted.key); err != nil {
		return mountedKey{}, fmt.Errorf("%s is not a JWK", v1alpha1.DataKeyJWK)
	}
	seconds, err := strconv.Atoi(text[v1alpha1.DataMaxLifetime])
	if err != nil {
		return mountedKey{}, fmt.Errorf("%s: %w", v1alpha1.DataMaxLifetime, err)
	}
	mounted.maxLifetime = time.Duration(seconds) * time.Second
	return mounted, nil
}
