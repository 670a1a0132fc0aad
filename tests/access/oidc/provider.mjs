// An OpenID provider on 127.0.0.1, for tests: whoever is in `accounts` signs in with a name alone. Its settings come
// as JSON in PROVIDER: {port, keys, accounts, redirects}.

import { once } from "node:events";
import Provider from "oidc-provider";

const { port, keys, accounts, redirects } = JSON.parse(process.env.PROVIDER);
const issuer = `http://127.0.0.1:${port}`;
const claims = ["sub", "groups", "org"];

const provider = new Provider(issuer, {
  jwks: { keys },
  clients: [
    {
      client_id: "conductor",
      token_endpoint_auth_method: "none",
      redirect_uris: redirects,
    },
    {
      client_id: "pipeline",
      client_secret: "a-secret-of-tests-alone",
      grant_types: ["client_credentials"],
      response_types: [],
      redirect_uris: [],
    },
  ],
  scopes: ["openid", "profile", "email"],
  claims: { openid: claims },
  // What groups somebody is in stands in the ID token, as with most providers.
  conformIdTokenClaims: false,
  cookies: { keys: ["tests"] },
  pkce: { required: () => true },
  ttl: { Session: 600, Interaction: 600, Grant: 600, IdToken: 600, AccessToken: 600, ClientCredentials: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // `urn:audience:<audience>`: a token for that audience.
      getResourceServerInfo: (_, resource) => ({
        scope: "api",
        audience: resource.replace("urn:audience:", ""),
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: (_, token) => accounts[token.clientId],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts[id] }) }),
  interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
  // The client is one of ours: nobody is asked for consent.
  async loadExistingGrant({ oidc }) {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope(oidc.params.scope);
    await grant.save();
    return grant;
  },
});

// People sign in at another site than the API's (`localhost`, not 127.0.0.1), as they do everywhere.
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === "/.well-known/openid-configuration") {
    ctx.body.authorization_endpoint = ctx.body.authorization_endpoint.replace("127.0.0.1", "localhost");
  }
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/sign-in/")) return next();
  if (ctx.method === "GET") {
    ctx.type = "html";
    ctx.body = `<!doctype html><title>Sign in</title>
      <form method="post"><label>Name <input name="name"></label><button>Sign in</button></form>`;
    return;
  }
  const sent = [];
  for await (const chunk of ctx.req) sent.push(chunk);
  const name = new URLSearchParams(Buffer.concat(sent).toString()).get("name");
  const result = name in accounts
    ? { login: { accountId: name } }
    : { error: "access_denied", error_description: "nobody of this name" };
  await provider.interactionFinished(ctx.req, ctx.res, result);
  ctx.respond = false;
});

// It ends with whoever started it, however that ends.
process.stdin.on("end", () => process.exit()).resume();

const server = provider.listen(port, "127.0.0.1");
await once(server, "listening");
console.log(`listening: ${issuer}`);
