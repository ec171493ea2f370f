// The talk on a screen, live or static: one slide at a time, and the keyboard works wherever somebody clicked.
// The address keeps cut, slide, step, choice and comparison, so a reload comes back to the same picture.
(() => {
  const find = (slide, what) => [...(slide?.querySelectorAll(what) ?? [])];
  const all = () => find(document, '.klp-slide');
  const inCut = () => all().filter(slide => !slide.matches('.klp-left-out'));
  const steps = slide => find(slide, '.klp-step');
  const choices = slide => find(slide, '.klp-choice');
  const at = slide => steps(slide).findIndex(one => one.matches('.klp-now'));
  const chosen = slide => choices(slide).findIndex(one => one.textContent.trim().startsWith('●'));
  const stills = slide => find(slide, '.klp-still');
  const config = JSON.parse(document.getElementById('jupyter-config-data')?.textContent ?? 'null');
  let shown = null, ready = false, digits = '', typing = 0, popup = null;
  const began = Date.now();

  function show(slide) {
    shown?.classList.remove('klp-shown');
    shown = slide;
    slide.classList.add('klp-shown');
    (slide.matches('.klp-vote') && choices(slide)[0] || slide.querySelector('.klp-next'))?.focus({preventScroll: true});
  }

  // A still page's step: what a live slide asks the kernel for is there already.
  function still(slide, number) {
    stills(slide).forEach((one, n) => one.classList.toggle('klp-shown', n === number));
    steps(slide).forEach((one, n) => {
      one.classList.toggle('klp-now', n === number);
      one.classList.toggle('klp-seen', n <= number);
      if (n <= number) one.textContent = one.dataset.seen;
    });
    const where = slide.querySelector('.klp-where');
    if (where) where.textContent = `Step ${number + 1} of ${stills(slide).length}`;
  }

  const within = (slide, by) => steps(slide).length && at(slide) + by >= 0 && at(slide) + by < steps(slide).length;

  function move(by) {
    if (!shown) return;
    if (!within(shown, by)) return leave(by);
    if (stills(shown).length) still(shown, at(shown) + by);
    else shown.querySelector(by > 0 ? '.klp-next' : '.klp-back').click();
  }

  function leave(by) {
    const slides = inCut(), next = slides[slides.indexOf(shown) + by];
    if (next) show(next);
  }

  function choose(by) {
    const some = choices(shown), from = some.indexOf(document.activeElement);
    const one = some[Math.min(Math.max((from < 0 ? chosen(shown) : from) + by, 0), some.length - 1)];
    one?.focus();
    if (shown.matches('.klp-live')) one?.click();
  }

  // A number is a slide's, as its head says it; 0 is the title page.
  function type(digit) {
    digits += digit;
    clearTimeout(typing);
    typing = setTimeout(jump, 700);
  }
  function jump() {
    clearTimeout(typing);
    const slide = digits && inCut()[Number(digits)];
    digits = '';
    if (slide) show(slide);
  }

  const keys = {
    ArrowRight: () => move(+1), PageDown: () => move(+1), ArrowLeft: () => move(-1), PageUp: () => move(-1),
    ArrowDown: () => choose(+1), ArrowUp: () => choose(-1), c: () => shown.querySelector('.klp-compare input')?.click(),
    n: () => panel.toggleAttribute('hidden'), s: () => speaker(), Home: () => show(inCut()[0]), End: () => show(inCut().at(-1)),
  };
  function pressed(event) {
    const focus = document.activeElement, own = focus?.matches('button,input,summary,a') && shown?.contains(focus);
    if (!shown || event.ctrlKey || event.altKey || event.metaKey) return;
    if (focus?.matches('select,textarea,input:not([type=checkbox]),[role=slider],[contenteditable=true]')) return;
    let act = keys[event.key];
    if (/^[0-9]$/.test(event.key)) act = () => type(event.key);
    else if (event.key === 'Enter' && digits) act = jump;
    else if ((event.key === 'Enter' || event.key === ' ') && (!own || event.view !== window)) act = () => move(+1);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
  addEventListener('keydown', pressed, true);

  // Next and Back, by mouse or by Enter: within a live slide the kernel answers, all else is done here.
  addEventListener('click', event => {
    const button = event.target.closest?.('.klp-next,.klp-back,.klp-step'), slide = button?.closest('.klp-slide');
    if (!slide || !event.isTrusted) return;
    const by = button.matches('.klp-next') ? 1 : -1, here = stills(slide).length;
    if (button.matches('.klp-step') ? !here : !here && within(slide, by)) return;
    event.preventDefault();
    event.stopPropagation();
    if (button.matches('.klp-step')) still(slide, steps(slide).indexOf(button));
    else move(by);
  }, true);

  // -- what the speaker sees, and what is heard ---------------------------------------------------------------------------
  const made = (css, role) => {
    const one = document.body.appendChild(document.createElement('div'));
    one.className = css;
    if (role) one.setAttribute('role', role);
    return one;
  };
  const heard = made('klp-heard', 'status'), panel = made('klp-said'), lost = made('klp-lost', 'alert');
  panel.hidden = lost.hidden = true;

  const text = element => (element?.innerText ?? element?.textContent ?? '').trim();
  function verdict() {
    const page = shown.querySelector('.klp-still.klp-shown') ?? shown;
    return find(page, '.sg-v > *').map(text).join(' ');
  }
  function notes() {
    const cell = shown.closest('[cell-index]');
    const said = shown.querySelector('.klp-notes') ?? (shown.matches('.klp-title') ? document.querySelector('.klp-notes-first') : cell?.querySelector('.klp-notes'));
    const n = at(shown), here = steps(shown)[n], next = steps(shown)[n + 1];
    const after = inCut()[inCut().indexOf(shown) + 1];
    return [
      text(shown.querySelector('h1,h2')), said?.textContent.trim() ?? '',
      here ? `Step ${n + 1} of ${steps(shown).length}: ${here.title}. ${verdict()}` : '',
      next ? `Then: ${next.title}` : after ? `Then: ${text(after.querySelector('h1,h2'))}` : 'This is the last slide.',
    ];
  }
  function write(page, into) {
    const [title, ...rest] = notes(), minutes = Math.floor((Date.now() - began) / 60000);
    into.replaceChildren(...[`${title} · minute ${minutes}`, ...rest].filter(Boolean).map((line, n) => {
      const one = page.createElement(n ? 'p' : 'b');
      one.textContent = line;
      return one;
    }));
  }
  function speaker() {
    popup = window.open('', 'klp-notes', 'width=900,height=640');
    if (!popup) return void (panel.hidden = false);
    popup.document.title = 'Notes';
    popup.document.body.style.cssText = 'font:24px/1.45 system-ui,sans-serif;margin:24px;white-space:pre-wrap';
    popup.document.onkeydown = pressed;
  }

  // -- the address, and the way back --------------------------------------------------------------------------------------
  const place = () => [chosen(all()[0]), all().indexOf(shown), at(shown), chosen(shown), Number(shown.querySelector('.klp-compare input')?.checked ?? 0)];
  const until = async (true_, tries = 200) => {
    while (!true_() && tries--) await new Promise(done => setTimeout(done, 50));
  };
  async function restore() {
    const drawn = cell => !cell.querySelector('.klp-notes') || cell.querySelector('.klp-slide .klp-next');
    await until(() => all().length && find(document, '[cell-index]').every(drawn), Infinity); // widgets come one by one
    stillsFirst();
    const [cut, number, step, choice, compare] = (location.hash.slice(2) || '-1/0/-1/-1/0').split('/').map(Number);
    const slide = all()[number] ?? all()[0];
    if (cut >= 0 && chosen(all()[0]) !== cut) choices(all()[0])[cut]?.click();
    show(slide);
    if (choice >= 0 && chosen(slide) !== choice && slide !== all()[0]) {
      choices(slide)[choice]?.click();
      await until(() => chosen(slide) === choice);
    }
    if (compare) slide.querySelector('.klp-compare input')?.click();
    if (step > 0) {
      await until(() => steps(slide)[step]);
      if (stills(slide).length) still(slide, step);
      else steps(slide)[step]?.click();
      await until(() => at(slide) === step);
    }
    ready = true;
  }
  const stillsFirst = () => all().forEach(slide => stills(slide).length && still(slide, 0));

  let last = '';
  function tell() {
    if (!ready) return;
    const address = `#/${place().join('/')}`;
    if (address !== location.hash) history.replaceState(null, '', address);
    const now = `${text(shown.querySelector('h1,h2'))}. ${verdict()}`;
    if (now !== last) heard.textContent = last = now;
    if (!panel.hidden) write(document, panel);
    if (popup && !popup.closed) write(popup.document, popup.document.body);
  }
  setInterval(tell, 150);

  // -- a kernel that is gone ----------------------------------------------------------------------------------------------
  async function ask() {
    const answer = await fetch(`${config.baseUrl}api/kernels/${config.kernelId}`, {cache: 'no-store'}).catch(() => null);
    const state = answer?.ok ? (await answer.json()).execution_state : answer ? 'gone' : 'no server';
    if (!['gone', 'no server', 'dead'].includes(state)) return;
    lost.hidden = false;
    lost.textContent = 'The kernel is lost: this picture stays as it is, no step and no switch answers any more. '
      + (answer ? '' : 'The server is gone, too: start make talk again. ')
      + 'Reload this page (F5): it comes back to this slide and step with a new kernel.';
    clearInterval(asking);
  }
  const asking = config && setInterval(ask, 2000);

  document.documentElement.classList.add('klp-deck');
  restore();
})();
