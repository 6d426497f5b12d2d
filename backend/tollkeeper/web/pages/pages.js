// The built-in pages, one function each; `data-page` of the body says which. They use the session's cookie alone.
import {
  Problem, ask, complain, element, find, hide, onSubmit, ownPath, say, show, takeToken, whoAmI, word, write,
} from "/console/client.js";

const INVITATION = "tollkeeper.invitation";
const NO_LINK = "This link has no token. Open it as it stands in the mail, or ask for a new one.";
// What a sign-in through a provider comes back with in `?error=`.
const REASONS = {
  oidc_provider_refused: "Your organisation's login did not let you in, or you turned back.",
  oidc_state_invalid: "This sign-in took too long, or was begun in another window. Begin again.",
  oidc_not_admitted: "Your account there may not sign in here. Ask your administrator.",
  oidc_token_invalid: "What your organisation's login answered does not hold. Tell your administrator.",
  oidc_email_unverified: "Your organisation's login has not verified your e-mail address.",
  oidc_other_user: "You signed in there as somebody else than here.",
  oidc_account_exists: "There is an account with your address already. Sign in to it, then link the login of your organisation.",
  oidc_already_linked: "That login belongs to another account here.",
  identity_provider_unavailable: "Your organisation's login does not answer. Try again soon.",
  identity_provider_unfit: "Your organisation's login cannot be used as it is set up. Tell your administrator.",
  missing_credential: "Sign in first, then repeat what you wanted to do.",
  session_ended: "Your session has ended. Sign in again.",
  step_up_required: "That needs a fresh proof of who you are. Sign in again.",
  cross_site_request: "Another site sent you there. Begin on this page.",
  rate_limit_exceeded: "Too many tries. Wait a minute, then try again.",
  dependency_unavailable: "The gateway is not ready for sign-ins at the moment. Try again soon.",
  not_found: "That login does not exist any more.",
};

const PAGES = {
  account,
  "not-built": notBuilt,
  "sign-in": signIn,
  invitation,
  "reset-password": resetPassword,
  "verify-email": verifyEmail,
  "step-up": stepUp,
};

function notBuilt() {
  write("snippet", `client = OpenAI(base_url="${location.origin}/v1", api_key="tk-…")`);
}

async function account() {
  const me = await whoAmI();
  if (me === null) {
    location.replace(`/console/sign-in?${new URLSearchParams({ next: "/console/account" })}`);
    return;
  }
  write("person", me.name === me.email ? me.email : `${me.name} (${me.email})`);
  write("role", me.role);
  write("organisation", me.tenant.name);
  write("usage", `${me.usage.requests} calls, $${me.usage.cost_usd}`);
  const others = me.tenants.filter((tenant) => !tenant.is_current);
  find("tenant").replaceChildren(...others.map(({ id, name, role }) => element("option", `${name} (${role})`, { value: id })));
  find("switch").hidden = others.length === 0;
  show("account");
  if (me.second_factor.must_set_up) write("enrol-why", "Your organisation asks for one. Until it is set up, nothing else is allowed.");
  else write("enrol-why", "Signing in then asks for a code of your phone as well.");
  find("enrol").hidden = me.second_factor.is_set_up;
  let csrf = me.csrf_token;

  onSubmit("switch", async ({ tenant }) => {
    await ask("POST", "/auth/switch", { body: { tenant_id: tenant }, csrf });
    location.reload();
  });
  onSubmit("sign-out", async (_, button) => {
    await ask("POST", button?.name === "everywhere" ? "/auth/logout-everywhere" : "/auth/logout", { csrf });
    location.replace("/console/sign-in");
  });
  onSubmit("begin", async () => {
    const begun = await withProof(() => ask("POST", "/me/second-factor", { csrf }));
    write("secret", begun.secret);
    if (begun.uri.startsWith("otpauth://")) find("uri").href = begun.uri;
    hide("begin");
    show("confirm");
    find("code").focus();
  });
  onSubmit("confirm", async ({ code }) => {
    const enabled = await withProof(() => ask("POST", "/me/second-factor/confirm", { body: { code: code.trim() }, csrf }));
    csrf = enabled.session.csrf_token;
    find("recovery-codes").replaceChildren(...enabled.recovery_codes.map((one) => element("li", one)));
    hide("confirm");
    show("recovery");
    say("The second factor is on.");
  });
}

async function signIn() {
  const query = new URLSearchParams(location.search);
  const next = ownPath(query.get("next"));
  if (query.has("error")) {
    const code = word(query.get("error"));
    const detail = Object.hasOwn(REASONS, code) ? REASONS[code] : `Signing in did not work${code ? ` (${code})` : ""}.`;
    complain(new Problem({ code, detail, requestId: word(query.get("request_id")) }));
  }
  find("go-on").href = next;

  onSubmit("password-form", async (fields) => {
    await withCode(fields, () => ask("POST", "/auth/login", { body: credentials(fields) }));
    location.replace(next);
  });
  onSubmit("provider-form", async ({ organisation }) => {
    const wanted = organisation.trim();
    const found = await ask("GET", `/auth/oidc?${new URLSearchParams({ [wanted.includes("@") ? "email" : "tenant"]: wanted })}`);
    offer(found.data, "sign_in", next);
    if (found.data.length === 0) throw new Problem({ detail: "No login of that organisation is known here.", param: "organisation" });
    say("Choose how to go on.");
    find("providers").querySelector("a").focus();
  });
  // Forms are shown when somebody listens: before, they would be sent to the page itself.
  show("password-form", "provider-form");
  find("email").focus();

  const me = await whoAmI();
  if (me !== null) {
    write("person", me.email);
    show("signed-in");
  }
}

async function invitation() {
  const token = takeToken() || sessionStorage.getItem(INVITATION) || "";
  if (!token) throw new Problem({ detail: NO_LINK });
  // Only for the way over the sign-in page, in this tab.
  find("sign-in-first").addEventListener("click", () => sessionStorage.setItem(INVITATION, token));
  const me = await whoAmI();
  if (me === null) {
    show("newcomer", "sign-in-first");
  } else {
    write("person", me.email);
    show("existing");
  }

  async function accept(body, csrf) {
    const accepted = await ask("POST", "/invitations/accept", { body: { token, ...body }, csrf });
    sessionStorage.removeItem(INVITATION);
    hide("existing", "newcomer", "sign-in-first");
    show("go-on");
    say(`You are a member of ${accepted.tenant_name} now.`);
    return accepted;
  }
  onSubmit("join", async () => {
    const { tenant_id } = await accept({}, me.csrf_token);
    await ask("POST", "/auth/switch", { body: { tenant_id }, csrf: me.csrf_token });
    location.replace("/console");
  });
  onSubmit("other", async () => {
    sessionStorage.setItem(INVITATION, token);
    await ask("POST", "/auth/logout", { csrf: me.csrf_token });
    location.reload();
  });
  onSubmit("account-form", async ({ name, password, repeated }) => {
    checkSame(password, repeated);
    const { email } = await accept({ name: name.trim(), password });
    await ask("POST", "/auth/login", { body: { email, password } });
    location.replace("/console");
  });
}

async function resetPassword() {
  const token = takeToken();
  show(token ? "complete" : "ask");
  onSubmit("ask", async ({ email }) => {
    await ask("POST", "/auth/password-reset", { body: { email: email.trim() } });
    hide("ask");
    say("If there is an account with this address, a link is on its way to it.");
  });
  onSubmit("complete", async ({ password, repeated }) => {
    checkSame(password, repeated);
    await ask("POST", "/auth/password-reset/complete", { body: { token, new_password: password } });
    hide("complete");
    say("Your password is set. Sign in with it.");
  });
}

async function verifyEmail() {
  const token = takeToken();
  if (!token) throw new Problem({ detail: NO_LINK });
  // Not by itself: programs that look at mail open links too.
  show("verify");
  onSubmit("verify", async () => {
    await ask("POST", "/auth/verify-email", { body: { token } });
    hide("verify");
    say("Your address is confirmed. Sign in.");
  });
}

async function stepUp() {
  const here = `/console/step-up${location.search}`;
  const me = await whoAmI();
  if (me === null) {
    location.replace(`/console/sign-in?${new URLSearchParams({ next: here })}`);
    return;
  }
  find("email").value = me.email;
  find("go-on").href = ownPath(new URLSearchParams(location.search).get("next"));
  if (new Date(me.session.fresh_until) > new Date()) proven(me.session.fresh_until);
  else show("prove");
  onSubmit("prove", async (fields) => {
    const { password, code } = credentials(fields);
    const done = await withCode(fields, () =>
      ask("POST", "/auth/step-up", { body: { password, ...(code && { code }) }, csrf: me.csrf_token }));
    proven(done.fresh_until);
  });
  const linked = await ask("GET", "/me/identities");
  offer(linked.data.map(({ provider_id, provider_name }) => ({ id: provider_id, name: provider_name })), "step_up", here);
}

function proven(until) {
  hide("prove");
  show("next");
  say(`You have proven who you are; it counts until ${new Date(until).toLocaleTimeString()}.`);
}

function credentials({ email, password, code }) {
  return { ...(email && { email: email.trim() }), password, ...(code && { code: code.trim() }) };
}

/** Shows the field for a code when the account has a second factor. */
async function withCode(fields, send) {
  try {
    return await send();
  } catch (error) {
    if (error.code === "second_factor_required" || error.code === "invalid_second_factor") {
      show("second-factor");
      find("code").disabled = false;
      find("code").value = "";
      find("code").focus();
      if (!fields.code) error.message = "Your account asks for a code as well.";
    }
    throw error;
  }
}

/** Sends the person to prove who they are, and back, where that is asked for. */
async function withProof(send) {
  try {
    return await send();
  } catch (error) {
    if (error.code === "step_up_required") {
      location.assign("/console/step-up");
    }
    throw error;
  }
}

function offer(providers, purpose, next) {
  find("providers").replaceChildren(
    ...providers.filter(({ id }) => word(id)).map(({ id, name }) => {
      const start = `/api/v1/auth/oidc/${id}/start?${new URLSearchParams({ purpose, redirect_to: next })}`;
      const item = document.createElement("li");
      item.append(element("a", `Continue with ${name}`, { href: start }));
      return item;
    }),
  );
}

function checkSame(password, repeated) {
  if (password !== repeated) throw new Problem({ detail: "The two passwords differ.", param: "repeated" });
}

try {
  await PAGES[document.body.dataset.page]();
} catch (error) {
  complain(error);
}
