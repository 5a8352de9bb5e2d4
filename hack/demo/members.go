package main

import (
	"context"
	"crypto/rand"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// The issuer with sessions, and its only user.
const (
	members     = "members"
	membersHost = "members.shop.example"
	carol       = "carol"
)

// membersDocument is the TokenIssuer that lets people log in, at this URL, with a lifetime that can be watched.
func membersDocument(url, lifetime string) string {
	return `
apiVersion: keyturn.dev/v1alpha1
kind: TokenIssuer
metadata:
  name: members
spec:
  issuerURL: ` + url + `
  audiences: [shop-api]
  signing: {}
  sessions:
    login:
      htpasswd:
        secretRef:
          name: members-users
    scopes: [orders:read]
    ` + lifetime
}

// addMembers makes the users and the issuer with sessions, and returns carol's password, which is made up for the
// occasion.
func (s *stage) addMembers(ctx context.Context, url, lifetime string) (password string, err error) {
	password = rand.Text()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	s.command(`kubectl create secret generic members-users --from-literal=auth="$(htpasswd -nbB carol $PASSWORD)"`)
	output, err := s.quietly(ctx, "create", "secret", "generic", "members-users", "--from-literal=auth="+carol+":"+string(hash))
	if err != nil {
		return "", err
	}
	s.output(output)
	if err := s.apply(ctx, membersDocument(url, lifetime)); err != nil {
		return "", err
	}
	return password, s.waitReady(ctx, members)
}
