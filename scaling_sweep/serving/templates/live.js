"use strict";
// Asks for the changing part of the page every two seconds, and says when nobody answers.
const live = document.getElementById("live");
const gone = document.getElementById("gone");
let seen = null;

function show(text) {
  const open = [...live.querySelectorAll("details[open]")].map((part) => part.id);
  live.innerHTML = text; // escaped by the server, and the page's policy runs no script in it
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
}

async function refresh() {
  try {
    const answer = await fetch("/live", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    if (text !== seen) show((seen = text));
    gone.hidden = true;
  } catch {
    gone.hidden = false;
  }
  setTimeout(refresh, 2000);
}

setTimeout(refresh, 2000);
