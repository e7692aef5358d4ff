/** Accounts: what they have, money in and out, a fresh start. */

import { useState } from "preact/hooks";

import { call } from "../../live/api";
import { BACKTEST_ACCOUNT, type Account } from "../../live/types";
import { money } from "../figures";
import { attempt, Dialog, Fault, Input, Panel, Select, Table } from "../widgets";

export function Accounts({ accounts, error, reload }: { accounts: Account[]; error: string | null; reload: () => void }) {
  const [asked, ask] = useState<Account | null>(null);
  const shown = accounts.filter((each) => each.account_id !== BACKTEST_ACCOUNT);
  const reset = async (account: Account): Promise<void> => {
    ask(null);
    await attempt(call("POST", `api/v1/accounts/${account.account_id}/reset`), () => `${account.name} begins anew`);
    reload();
  };
  return (
    <Panel title="Accounts" note="Reserved is the worst case of what is held and ordered; available is the rest.">
      <Fault text={error} retry={reload} />
      <Table
        caption="Accounts"
        rows={shown.flatMap((account) => account.balances.map((balance) => ({ account, balance })))}
        keyOf={({ account, balance }) => account.account_id + balance.currency}
        columns={[
          { name: "Account", isText: true, cell: ({ account }) => <b>{account.name}</b> },
          { name: "Currency", isText: true, cell: ({ balance }) => balance.currency },
          { name: "In all", cell: ({ balance }) => money(balance.total) },
          { name: "Reserved", cell: ({ balance }) => money(balance.reserved) },
          { name: "Available", cell: ({ balance }) => money(balance.available) },
          { name: "Transferred", isExtra: true, cell: ({ account }) => money(account.transferred, true) },
          {
            name: "Do",
            cell: ({ account }) => (
              <button type="button" aria-label={`Reset ${account.name}`} onClick={() => ask(account)}>
                Reset
              </button>
            ),
          },
        ]}
      />
      <div class="grid two gap">
        {shown.length > 0 && <Transfer accounts={shown} reload={reload} />}
        <NewAccount reload={reload} />
      </div>
      {asked && (
        <Dialog title={`A fresh start for ${asked.name}?`} onClose={() => ask(null)}>
          <p class="note">Its orders are cancelled, its positions brought to zero at the reference price, its balance to the first one.</p>
          <div class="actions">
            <button type="button" class="danger solid" onClick={() => void reset(asked)}>
              Begin anew
            </button>
            <button type="button" onClick={() => ask(null)}>
              Back
            </button>
          </div>
        </Dialog>
      )}
    </Panel>
  );
}

function Transfer({ accounts, reload }: { accounts: Account[]; reload: () => void }) {
  const [id, choose] = useState("");
  const [amount, write] = useState("");
  const account = accounts.find((each) => each.account_id === id) ?? accounts[0]!;
  const send = async (): Promise<void> => {
    const done = await attempt(call("POST", `api/v1/accounts/${account.account_id}/transfers`, { amount: amount.trim() }), () => `${amount} ${account.currency} transferred`);
    if (done) write("");
    reload();
  };
  return (
    <form class="inline-form" onSubmit={(event) => { event.preventDefault(); void send(); }}>
      <Select label="Account" value={account.account_id} options={accounts.map((each) => [each.account_id, each.name] as const)} onValue={choose} />
      <Input label="Amount" unit={account.currency} value={amount} onValue={write} inputMode="decimal" hint="negative: out of it" />
      <button type="submit" disabled={!Number(amount)}>
        Transfer
      </button>
    </form>
  );
}

function NewAccount({ reload }: { reload: () => void }) {
  const [name, call_] = useState("");
  const [balance, write] = useState("");
  const add = async (): Promise<void> => {
    const added = await attempt(call<Account>("POST", "api/v1/accounts", { name: name.trim(), ...(balance.trim() ? { balance: balance.trim() } : {}) }), (found) => `${found.name} has been added`);
    if (added) {
      call_("");
      write("");
    }
    reload();
  };
  return (
    <form class="inline-form" onSubmit={(event) => { event.preventDefault(); void add(); }}>
      <Input label="New account" value={name} onValue={call_} />
      <Input label="First balance" value={balance} onValue={write} hint="such as 100000 USDT; empty: by the settings" />
      <button type="submit" disabled={name.trim() === ""}>
        Add
      </button>
    </form>
  );
}
