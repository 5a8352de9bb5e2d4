// Command signer shows how a workload signs access tokens with the Secret that Keyturn keeps for it. It prints one token.
package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// options are what the token is to say. Keyturn decides the rest: the key, its id, the algorithm and the issuer.
type options struct {
	dir, subject, audience, client, scope, id, sid string
	lifetime                                       time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "/var/run/keyturn", "where the signing-key Secret is mounted")
	flag.StringVar(&o.subject, "sub", "", "whom the token is about (required)")
	flag.StringVar(&o.audience, "aud", "", "who accepts the token (required)")
	flag.StringVar(&o.client, "client", "", "the client that the token is issued to (required)")
	flag.StringVar(&o.scope, "scope", "", "what the token permits, separated by spaces")
	flag.DurationVar(&o.lifetime, "lifetime", 0, "how long the token is good (default: 15m, or less if the issuer allows less)")
	flag.StringVar(&o.id, "jti", "", "the id of the token (default: a random one)")
	flag.StringVar(&o.sid, "sid", "", "the id of the session that the token belongs to")
	flag.Parse()
	token, err := sign(o, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}

// sign reads the Secret and makes one token (RFC 9068). Reading it every time is all that a rotation asks of a workload.
func sign(o options, now time.Time) (string, error) {
	if o.subject == "" || o.audience == "" || o.client == "" {
		return "", errors.New("set -sub, -aud and -client: an access token must have them (RFC 9068 section 2.2)")
	}
	secret, err := readSecret(o.dir)
	if err != nil {
		return "", err
	}
	o.lifetime = cmp.Or(o.lifetime, min(15*time.Minute, secret.maxLifetime))
	if o.lifetime < time.Second || o.lifetime > secret.maxLifetime {
		return "", fmt.Errorf("-lifetime is %s: set it from 1s to %s, because verifiers refuse longer ones", o.lifetime, secret.maxLifetime)
	}
	header := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", secret.keyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: secret.algorithm, Key: secret.key.Key}, header)
	if err != nil {
		return "", fmt.Errorf("the files in %s do not belong together: the key does not sign %s: %w", o.dir, secret.algorithm, err)
	}
	registered := jwt.Claims{
		Issuer: secret.issuer, Subject: o.subject, Audience: jwt.Audience{o.audience}, ID: cmp.Or(o.id, rand.Text()),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(o.lifetime)),
	}
	further := struct {
		Client  string `json:"client_id"`
		Scope   string `json:"scope,omitempty"`
		Session string `json:"sid,omitempty"`
	}{o.client, o.scope, o.sid}
	return jwt.Signed(signer).Claims(registered).Claims(further).Serialize()
}

// mounted is the content of the Secret.
type mounted struct {
	key           jose.JSONWebKey
	keyID, issuer string
	algorithm     jose.SignatureAlgorithm
	maxLifetime   time.Duration
}

func readSecret(dir string) (*mounted, error) {
	text, err := readFiles(dir)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = readFiles(dir) // a rotation removed the old files while they were read
	}
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: mount the Secret of the issuer, or name its directory with -dir: %w", err)
	}
	secret := &mounted{keyID: text["kid"], issuer: text["issuer"], algorithm: jose.SignatureAlgorithm(text["alg"])}
	if json.Unmarshal([]byte(text["key.jwk"]), &secret.key) != nil || secret.key.Key == nil || secret.key.IsPublic() {
		return nil, fmt.Errorf("%s does not hold a private or symmetric key as a JWK", filepath.Join(dir, "key.jwk"))
	}
	seconds, err := strconv.ParseUint(text["max-lifetime"], 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a number of seconds: %w", filepath.Join(dir, "max-lifetime"), err)
	}
	secret.maxLifetime = time.Duration(seconds) * time.Second
	return secret, nil
}

func readFiles(dir string) (map[string]string, error) {
	// The kubelet exchanges all files by turning the link ..data. Followed once, it gives a key and its own id.
	if data, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = data
	}
	text := map[string]string{}
	for _, name := range []string{"key.jwk", "kid", "alg", "issuer", "max-lifetime"} {
		content, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // The folder is the user's own choice.
		if err != nil {
			return nil, err
		}
		text[name] = strings.TrimSpace(string(content))
	}
	return text, nil
}
